"""Downloads from a server on this machine; small files in the formats of the real data sets, read by torchvision.

torchvision's tables of addresses and MD5 sums are pointed at those files: the sums are checked, not switched off.
"""

import gzip
import hashlib
import io
import pickle
import struct
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets
from torchvision.datasets import voc

from helpers.data import VOC_CLASSES, DataUnavailable, ImageSet, bytes_downloaded, data_folder, load, voc_boxes
from helpers.data.downloads import File, fetch, provide


class Server(ThreadingHTTPServer):
    """Serves `files`; counts requests; may refuse ranges, or break off after `limit` bytes of a body."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.ranges, self.limit, self.log = {}, True, None, []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server, name, asked = self.server, self.path.lstrip("/"), self.headers.get("Range")
        server.log.append((name, asked))
        if name not in server.files:
            return self.send_error(404)
        body = server.files[name]
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and server.ranges else 0
        if start >= len(body) > 0:
            return self.send_error(416)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.end_headers()
        self.wfile.write(body[start:][: server.limit])

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs=dict(poll_interval=0.01))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("DLE_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def md5(body):
    return hashlib.md5(body).hexdigest()


def noise(n, seed=0):
    return np.random.default_rng(seed).integers(0, 256, n, dtype=np.uint8).tobytes()


def packed(mode, **members):
    """A tar archive of these files."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as tar:
        for name, body in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))
    return stream.getvalue()


# -- fetch: one file from a server that may misbehave ------------------------------------------------------------------


@pytest.fixture
def target(tmp_path):
    return tmp_path / "file.bin", tmp_path / "file.bin.part"


def test_a_file_arrives_whole_and_its_bytes_are_counted(server, target):
    path, part = target
    server.files["a"] = body = noise(700_000)
    before = bytes_downloaded()
    fetch(server.url + "a", path=path, md5=md5(body))
    assert path.read_bytes() == body and not part.exists()
    assert bytes_downloaded() - before == 700_000


def test_a_part_is_continued(server, target):
    path, part = target
    server.files["a"] = body = noise(5000)
    part.write_bytes(body[:1200])
    before = bytes_downloaded()
    fetch(server.url + "a", path=path, md5=md5(body))
    assert path.read_bytes() == body and not part.exists()
    assert server.log == [("a", "bytes=1200-")] and bytes_downloaded() - before == 3800


def test_a_server_without_ranges_starts_over(server, target):
    path, part = target
    server.files["a"], server.ranges = noise(5000), False
    part.write_bytes(noise(5000)[:1200])
    fetch(server.url + "a", path=path, md5=md5(noise(5000)))
    assert path.read_bytes() == noise(5000) and len(server.log) == 1


def test_a_broken_connection_is_taken_up_again(server, target):
    path, _ = target
    server.files["a"], server.limit = noise(5000), 2000
    fetch(server.url + "a", path=path, md5=md5(noise(5000)))
    assert path.read_bytes() == noise(5000)
    assert [asked for _, asked in server.log] == [None, "bytes=2000-", "bytes=4000-"]


def test_a_truncated_file_is_never_taken_for_complete(server, target):
    path, part = target
    server.files["a"], server.limit, server.ranges = noise(5000), 2000, False
    with pytest.raises(OSError, match="the connection ended after 2,000 of 5,000 bytes"):
        fetch(server.url + "a", path=path, md5=md5(noise(5000)))
    assert not path.exists() and part.read_bytes() == noise(5000)[:2000] and len(server.log) == 2
    server.limit, server.ranges = None, True
    fetch(server.url + "a", path=path, md5=md5(noise(5000)))
    assert path.read_bytes() == noise(5000) and server.log[-1] == ("a", "bytes=2000-")


def test_a_part_of_another_file_is_thrown_away(server, target):
    path, part = target
    server.files["a"] = body = noise(5000)
    for stale in (noise(3000, seed=1), noise(5000, seed=1), noise(9000, seed=1)):  # shorter, as long (416), longer
        part.write_bytes(stale)
        fetch(server.url + "a", path=path, md5=md5(body))
        assert path.read_bytes() == body and not part.exists()
        path.unlink()


def test_a_complete_part_needs_no_network(target):
    path, part = target
    part.write_bytes(noise(5000))
    fetch("http://127.0.0.1:1/a", path=path, md5=md5(noise(5000)))
    assert path.read_bytes() == noise(5000)


def test_a_wrong_sum_is_refused_and_leaves_nothing(server, target):
    path, part = target
    server.files["a"] = b"<html>please log in</html>"
    with pytest.raises(OSError, match=rf"MD5 sum {md5(server.files['a'])} instead of {md5(noise(10))}"):
        fetch(server.url + "a", path=path, md5=md5(noise(10)))
    assert not path.exists() and not part.exists()


def test_mirrors_are_tried_in_order_and_go_on_with_one_part(server, target):
    path, part = target
    server.files["good"] = noise(5000)
    server.files["short"] = noise(5000)[:1500]
    urls = [server.url + name for name in ("missing", "short", "good")]
    fetch(*urls, path=path, md5=md5(noise(5000)))
    assert path.read_bytes() == noise(5000)
    with pytest.raises(OSError, match=r"/missing: HTTP Error 404: Not Found; http.*/gone: HTTP Error 404"):
        fetch(server.url + "missing", server.url + "gone", path=path, md5=md5(b""))


# -- load: the real formats --------------------------------------------------------------------------------------------


def idx(array):
    """The format of MNIST: two zero bytes, a type, the number of axes, their big-endian lengths, the bytes."""
    return gzip.compress(struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes())


@pytest.mark.parametrize(
    "name, kind", [("mnist", datasets.MNIST), ("fashion_mnist", datasets.FashionMNIST), ("kmnist", datasets.KMNIST)]
)
def test_mnist_and_its_kin(name, kind, server, monkeypatch, folder):
    pixels = np.frombuffer(noise(7 * 784), np.uint8).reshape(7, 28, 28)
    labels = np.array([3, 1, 4, 1, 5, 9, 2], np.uint8)
    server.files = {
        "train-images-idx3-ubyte.gz": idx(pixels),
        "train-labels-idx1-ubyte.gz": idx(labels),
        "t10k-images-idx3-ubyte.gz": idx(pixels[:2]),
        "t10k-labels-idx1-ubyte.gz": idx(labels[:2]),
    }
    monkeypatch.setattr(kind, "mirrors", [server.url + "nowhere/", server.url])
    monkeypatch.setattr(kind, "resources", [(file, md5(body)) for file, body in server.files.items()])
    train, test = load(name), load(name, "test")
    assert isinstance(train, ImageSet) and train.images.shape == (7, 1, 28, 28) and len(test) == 2
    torch.testing.assert_close(train.images[:, 0].mul(255).round().byte(), torch.tensor(pixels))
    assert train.labels.tolist() == [3, 1, 4, 1, 5, 9, 2] and train.labels.dtype == torch.long
    assert train.classes[3] == {"mnist": "3", "fashion_mnist": "Dress", "kmnist": "tsu"}[name]
    assert len(server.log) == 8 and (folder / name).is_dir()  # four files, each after one mirror that lacks it


@pytest.mark.parametrize("name, kind", [("cifar10", datasets.CIFAR10), ("cifar100", datasets.CIFAR100)])
def test_cifar(name, kind, server, monkeypatch):
    rows = np.frombuffer(noise(6 * 3072), np.uint8).reshape(6, 3072)
    key = "labels" if name == "cifar10" else "fine_labels"
    files = [file for file, _ in kind.train_list + kind.test_list]
    cuts = [0, 3, 4, 4, 4, 4, 6] if name == "cifar10" else [0, 4, 6]
    parts = {
        file: pickle.dumps({"data": rows[start:stop], key: list(range(start, stop))})
        for file, start, stop in zip(files, cuts, cuts[1:], strict=False)
    }
    classes = [f"class {i}" for i in range(10 if name == "cifar10" else 100)]
    parts[kind.meta["filename"]] = pickle.dumps({kind.meta["key"]: classes})
    body = packed("w:gz", **{f"{kind.base_folder}/{file}": part for file, part in parts.items()})
    server.files[kind.filename] = body
    monkeypatch.setattr(kind, "url", server.url + kind.filename)
    monkeypatch.setattr(kind, "tgz_md5", md5(body))
    for table in ("train_list", "test_list"):
        monkeypatch.setattr(kind, table, [[file, md5(parts[file])] for file, _ in getattr(kind, table)])
    monkeypatch.setattr(kind, "meta", kind.meta | {"md5": md5(parts[kind.meta["filename"]])})
    train, test = load(name), load(name, "test")
    stored = torch.cat([train.images, test.images]).mul(255).round().byte()
    assert torch.equal(stored, torch.tensor(rows.reshape(6, 3, 32, 32)))
    assert train.labels.tolist() == [0, 1, 2, 3] and test.labels.tolist() == [4, 5] and train.classes == tuple(classes)
    assert len(server.log) == 1


def test_svhn(server, monkeypatch):
    from scipy.io import savemat

    pixels = np.frombuffer(noise(4 * 3072), np.uint8).reshape(4, 3, 32, 32)
    stream = io.BytesIO()
    savemat(stream, {"X": pixels.transpose(2, 3, 1, 0), "y": np.array([[1], [10], [9], [2]], np.uint8)})
    body = server.files["train_32x32.mat"] = stream.getvalue()
    table = {"train": [server.url + "train_32x32.mat", "train_32x32.mat", md5(body)]}
    monkeypatch.setattr(datasets.SVHN, "split_list", table)
    data = load("svhn")
    assert torch.equal(data.images.mul(255).round().byte(), torch.tensor(pixels))
    assert data.labels.tolist() == [1, 0, 9, 2]  # the file says 10 for 0


def test_stl10(server, monkeypatch):
    kind = datasets.STL10
    pixels = np.frombuffer(noise(3 * 3 * 96 * 96), np.uint8).reshape(3, 3, 96, 96)
    columns = pixels.transpose(0, 1, 3, 2)  # the file goes down the columns
    parts = {
        "train_X.bin": columns.tobytes(),
        "train_y.bin": bytes([1, 10, 2]),
        "unlabeled_X.bin": b"",
        "test_X.bin": columns[:1].tobytes(),
        "test_y.bin": bytes([7]),
    }
    names = "airplane bird car cat deer dog horse monkey ship truck".split()  # noqa: SIM905
    members = parts | {"class_names.txt": "\n".join(names).encode()}
    body = packed("w:gz", **{f"stl10_binary/{file}": part for file, part in members.items()})
    server.files[kind.filename] = body
    monkeypatch.setattr(kind, "url", server.url + kind.filename)
    monkeypatch.setattr(kind, "tgz_md5", md5(body))
    for table in ("train_list", "test_list"):
        monkeypatch.setattr(kind, table, [[file, md5(parts[file])] for file, _ in getattr(kind, table)])
    train, test = load("stl10"), load("stl10", "test")
    assert torch.equal(train.images.mul(255).round().byte(), torch.tensor(pixels)) and train.classes == tuple(names)
    assert train.labels.tolist() == [0, 9, 1] and test.labels.tolist() == [6]


THING = (
    "<object><name>{}</name><difficult>{}</difficult><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax>"
    "<ymax>{}</ymax></bndbox></object>"
)
THINGS = {"000005": [("dog", 0, 1, 2, 30, 20), ("person", 1, 11, 1, 40, 30)], "000007": [("car", 0, 5, 5, 6, 6)]}


@pytest.fixture
def voc2007(server, monkeypatch):
    """A VOC2007 of two training images and one test image, as tar archives on the server."""
    image, mask = io.BytesIO(), io.BytesIO()
    Image.fromarray(np.full((30, 40, 3), 200, np.uint8)).save(image, "JPEG")
    Image.fromarray(np.full((30, 40), 12, np.uint8)).save(mask, "PNG")
    for year, split, numbers in [("2007", "trainval", ["000005", "000007"]), ("2007-test", "test", ["000007"])]:
        members = {}
        for number in numbers:
            xml = "".join(THING.format(*thing) for thing in THINGS[number])
            members[f"Annotations/{number}.xml"] = f"<annotation><folder>VOC2007</folder>{xml}</annotation>".encode()
            members[f"JPEGImages/{number}.jpg"] = image.getvalue()
            members[f"SegmentationClass/{number}.png"] = mask.getvalue()
        for task in ("Main", "Segmentation"):
            members[f"ImageSets/{task}/{split}.txt"] = "\n".join(numbers).encode()
        body = packed("w", **{f"VOCdevkit/VOC2007/{name}": part for name, part in members.items()})
        entry = voc.DATASET_YEAR_DICT[year]
        server.files[entry["filename"]] = body
        changed = entry | {"url": server.url + entry["filename"], "md5": md5(body)}
        monkeypatch.setitem(voc.DATASET_YEAR_DICT, year, changed)
    return server


def test_voc(voc2007):
    data = load("voc2007", "trainval")
    assert isinstance(data, datasets.VOCDetection) and len(data) == 2
    image, annotation = data[0]
    assert image.size == (40, 30)
    boxes, labels, difficult = voc_boxes(annotation)
    assert boxes.tolist() == [[0, 1, 30, 20], [10, 0, 40, 30]] and difficult.tolist() == [False, True]
    assert [VOC_CLASSES[label] for label in labels] == ["dog", "person"]
    assert voc_boxes(data[1][1])[0].tolist() == [[4, 4, 6, 6]]
    assert len(load("voc2007", "test")) == 1
    masks = load("voc2007_segmentation", "trainval")
    assert isinstance(masks, datasets.VOCSegmentation) and np.asarray(masks[0][1]).max() == 12
    assert len(voc2007.log) == 2  # the two tasks share their archives
    assert len(VOC_CLASSES) == 20 and sorted(VOC_CLASSES) == list(VOC_CLASSES)


def test_an_interrupted_unpacking_is_repeated(voc2007, folder):
    load("voc2007", "trainval")
    note = next((folder / "voc2007").glob("*.unpacked"))
    note.unlink()
    missing = folder / "voc2007/VOCdevkit/VOC2007/Annotations/000007.xml"
    missing.unlink()
    assert len(load("voc2007", "trainval", download=False)) == 2 and missing.exists()
    assert len(voc2007.log) == 1


def test_an_archive_that_was_put_there_is_used(voc2007, folder):
    archive = folder / "voc2007" / "VOCtrainval_06-Nov-2007.tar"
    archive.parent.mkdir(parents=True)
    archive.write_bytes(voc2007.files[archive.name][:-1])
    with pytest.raises(
        DataUnavailable, match=r"06-Nov-2007.tar \(.* bytes, MD5 sum .*\) differs from the published file"
    ):
        load("voc2007", "trainval", download=False)
    archive.write_bytes(voc2007.files[archive.name])
    assert len(load("voc2007", "trainval", download=False)) == 2 and not voc2007.log


def test_a_corrupt_archive_is_replaced(voc2007, folder):
    archive = folder / "voc2007" / "VOCtrainval_06-Nov-2007.tar"
    archive.parent.mkdir(parents=True)
    archive.write_bytes(b"no archive")
    assert len(load("voc2007", "trainval")) == 2
    assert archive.read_bytes() == voc2007.files[archive.name]


def test_root_comes_before_the_environment(voc2007, tmp_path, folder):
    load("voc2007", "trainval", root=tmp_path / "elsewhere")
    assert (tmp_path / "elsewhere" / "voc2007").is_dir() and not folder.exists()


def test_the_folder_is_in_the_cache_by_default(monkeypatch, tmp_path):
    monkeypatch.delenv("DLE_DATA")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data_folder() == tmp_path / ".cache" / "deep-learning-executed"


def test_without_a_network_the_message_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.delenv("DLE_DATA")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(datasets.CIFAR10, "url", "http://127.0.0.1:1/cifar-10-python.tar.gz")
    with pytest.raises(DataUnavailable) as error:
        load("cifar10")
    message = str(error.value)
    assert message.startswith("cifar10 is not in ~/.cache/deep-learning-executed/cifar10 and could not be downloaded: ")
    assert "refused" in message
    assert message.endswith("Connect, or put cifar-10-python.tar.gz into ~/.cache/deep-learning-executed/cifar10")
    with pytest.raises(DataUnavailable, match="download=True, or put cifar-10-python.tar.gz into ~/"):
        load("cifar10", download=False)


@pytest.mark.parametrize(
    "name, split, message",
    [
        ("imagenet", "train", "no data set is called 'imagenet': there are mnist, .*, voc2007"),
        ("mnist", "val", "mnist has no split 'val': there are train, test"),
    ],
)
def test_bad_names_are_named(name, split, message):
    with pytest.raises(ValueError, match=message):
        load(name, split)


def test_a_wrong_file_in_place_is_not_called_missing(tmp_path):
    (tmp_path / "set.tar.gz").write_bytes(b"half a download")
    file = File(("http://127.0.0.1:1/set.tar.gz",), "set.tar.gz", "0" * 32)
    found = md5(b"half a download")
    for download, remedy in ((False, "allow download=True, or put that one"), (True, "Connect, or put that one")):
        with pytest.raises(DataUnavailable) as error:
            provide(file, tmp_path, "toy", download=download)
        message = str(error.value)
        wrong = f"set.tar.gz (15 bytes, MD5 sum {found}) differs from the published file ({'0' * 32})"
        assert message.startswith("toy: ") and wrong in message and remedy in message and "is not in" not in message
    (tmp_path / "other").mkdir()
    with pytest.raises(DataUnavailable, match=r"other \(a folder\) differs from the published file"):
        provide(File((), "other", "0" * 32), tmp_path, "toy", download=False)


def test_a_disk_that_refuses_is_not_called_a_bad_connection(server, tmp_path):
    server.files["a"] = noise(100)
    (tmp_path / "folder").write_bytes(b"no folder")
    file = File((server.url + "a",), "folder/a", md5(noise(100)), unpack=False)
    with pytest.raises(DataUnavailable, match="cannot be written there: .* Make room, or name another folder") as error:
        provide(file, tmp_path, "toy")
    assert "Connect" not in str(error.value)


def test_annotations_without_objects_or_marks():
    boxes, labels, difficult = voc_boxes({"annotation": {}})
    assert boxes.shape == (0, 4) and len(labels) == len(difficult) == 0
    box = dict(zip(("xmin", "ymin", "xmax", "ymax"), "1234"))
    assert voc_boxes({"annotation": {"object": [{"name": "cat", "bndbox": box}]}})[2].tolist() == [False]
    with pytest.raises(ValueError, match="an object is a 'zebra': VOC has aeroplane"):
        voc_boxes({"annotation": {"object": [{"name": "zebra", "bndbox": box}]}})
