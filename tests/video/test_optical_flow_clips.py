"""Clips whose frames give nothing away, and videos in folders, which the tests encode."""

import sys

import pytest
import torch

from helpers.data.scenes import ACTIONS, render_clip, sample_action
from helpers.video.optical_flow import VideoFolder, count_frames, frame_places, read_frames
from helpers.video.optical_flow.clips import square


def test_the_middle_frame_tells_nothing():
    """One scene, all actions of motion and of order: the frame in the middle is the same, the others are not."""
    for index in range(3):
        clips = []
        for action in [name for name, kind in ACTIONS.items() if kind != "appearance"]:
            episode = sample_action(5, action, index=index)
            clips.append((action, render_clip(episode.scene, episode.motions, 9, 24).video))
        videos = torch.stack([video for _, video in clips])
        middle = videos[:, 4]
        # who acts may change for the two that pass; all else is one picture
        assert (middle - middle[0]).abs().max() < 0.02
        assert (videos[:, 0] - videos[:1, 0]).abs().amax((1, 2, 3))[1:].min() > 0.1


def test_frame_places():
    assert frame_places(10, 3, how="dense").tolist() == [4, 5, 6]
    assert frame_places(10, 3, how="strided", stride=4).tolist() == [1, 5, 9]
    assert frame_places(10, 3).tolist() == [1, 5, 8]  # as in the authors' code: int(total / frames * (i + 1 / 2))
    for total, frames in ((7, 3), (25, 8), (100, 9)):
        tick = total / frames
        assert frame_places(total, frames).tolist() == [int(tick / 2 + tick * i) for i in range(frames)]
    assert frame_places(4, 4).tolist() == [0, 1, 2, 3]
    generator = torch.Generator().manual_seed(0)
    drawn = torch.stack([frame_places(10, 3, generator=generator) for _ in range(300)])
    assert [sorted(set(column.tolist())) for column in drawn.T] == [[0, 1, 2], [3, 4, 5], [6, 7, 8, 9]]
    starts = {frame_places(10, 3, how="strided", stride=4, generator=generator)[0].item() for _ in range(100)}
    assert starts == {0, 1}


@pytest.fixture
def folder(tmp_path):
    """Two classes of two videos each, in which the brightness counts the frames."""
    import av

    for label, name in enumerate(("Archery", "Bowling")):
        (tmp_path / name).mkdir()
        for number in (1, 2):
            path = tmp_path / name / f"v_{name}_g0{number}_c01.avi"
            with av.open(str(path), "w") as container:
                stream = container.add_stream("ffv1", rate=10)  # loses nothing
                stream.width, stream.height, stream.pix_fmt = 32, 24, "bgr0"
                for i in range(6):
                    picture = torch.full((24, 32, 3), 40 * i, dtype=torch.uint8)
                    picture[..., 0] = 100 * label
                    container.mux(stream.encode(av.VideoFrame.from_ndarray(picture.numpy(), format="rgb24")))
                container.mux(stream.encode())
    (tmp_path / "train.txt").write_text("Bowling/v_Bowling_g02_c01.avi 2\nArchery/v_Archery_g01_c01.avi 1\n")
    return tmp_path


def test_read_frames(folder):
    path = folder / "Bowling" / "v_Bowling_g01_c01.avi"
    assert count_frames(path) == 6
    video = read_frames(path)
    assert video.shape == (6, 3, 24, 32)
    assert (255 * video[:, 1, 3, 3]).round().tolist() == [0, 40, 80, 120, 160, 200]
    assert (255 * video[:, 0, 3, 3]).round().unique().tolist() == [100]
    some = read_frames(path, [4, 1, 1], size=12)
    assert some.shape == (3, 3, 12, 12) and (255 * some[:, 2, 5, 5]).round().tolist() == [160, 40, 40]


def test_the_square_is_cut_from_the_middle():
    """Of a wide frame, of a high one, and after shrinking."""
    wide = torch.arange(40.0).expand(1, 3, 20, 40) / 40
    assert torch.equal(square(wide, 20), wide[..., 10:30])
    assert torch.equal(square(wide.mT, 20), wide.mT[..., 10:30, :])
    small = square(wide, 10)
    torch.testing.assert_close(small[0, 0, 5].flip(0), 39 / 40 - small[0, 0, 5])  # as much is missing on both sides


def test_shrinking_does_not_alias():
    """Away from the border each pixel is the mean of four by four, with weights 1, 3, 3, 1."""
    video = torch.rand(2, 3, 20, 24, generator=torch.Generator().manual_seed(0))
    weights = torch.tensor([1.0, 3, 3, 1]) / 8
    weights = torch.outer(weights, weights).expand(3, 1, 4, 4)
    expected = torch.nn.functional.conv2d(video[..., 1:-1, 1:-1], weights, stride=2, groups=3)
    torch.testing.assert_close(square(video, 10)[..., 1:-1, :], expected)


def test_video_folder(folder):
    videos = VideoFolder(folder, frames=3, size=16)
    assert len(videos) == 4 and videos.classes == ["Archery", "Bowling"]
    video, label = videos[2]
    assert video.shape == (3, 3, 16, 16) and label == 1
    assert (255 * video[:, 1, 0, 0]).round().tolist() == [40, 120, 200]
    listed = VideoFolder(folder, frames=2, size=16, listing=folder / "train.txt", how="dense")
    assert [path.name for path in listed.paths] == ["v_Bowling_g02_c01.avi", "v_Archery_g01_c01.avi"]
    assert [listed[i][1] for i in range(2)] == [1, 0]
    batch, labels = next(iter(torch.utils.data.DataLoader(listed, batch_size=2)))
    assert batch.shape == (2, 2, 3, 16, 16) and labels.tolist() == [1, 0]
    drawn = VideoFolder(folder, frames=1, size=16, draw=torch.Generator().manual_seed(0))
    assert len({round(255 * drawn[0][0][0, 1, 0, 0].item()) for _ in range(30)}) == 6


def test_workers_draw_other_frames(folder):
    """A generator copied into each worker would draw the same in all, and again in each epoch."""
    videos = VideoFolder(folder, frames=1, size=16, draw=torch.Generator().manual_seed(0))
    same = torch.utils.data.Subset(videos, [0] * 8)
    loader = torch.utils.data.DataLoader(
        same, batch_size=4, num_workers=2, generator=torch.Generator().manual_seed(0), multiprocessing_context="fork"
    )
    epochs = [[tuple((255 * v[:, 0, 1, 0, 0]).round().tolist()) for v, _ in loader] for _ in range(3)]
    assert len({batch for epoch in epochs for batch in epoch}) == 6


def test_without_pyav(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ImportError, match="pip install av"):
        read_frames(folder / "Archery" / "v_Archery_g01_c01.avi")


def test_bad_input(folder, unchecked):
    with pytest.raises(ValueError, match="a video of 10 frames: 4 at a stride of 4 need 13"):
        frame_places(10, 4, how="strided", stride=4)
    with pytest.raises(ValueError, match="a video of 3 frames: 4 at a stride of 1 need 4"):
        frame_places(3, 4)
    with pytest.raises(ValueError, match="how = 'random': choose dense, strided, segments"):
        frame_places(10, 4, how="random")
    with pytest.raises(ValueError, match="frames = 0, stride = 1"):
        frame_places(10, 0)
    path = folder / "Archery" / "v_Archery_g01_c01.avi"
    with pytest.raises(ValueError, match="stride = 4 with how = 'segments'"):
        frame_places(10, 4, stride=4)
    with pytest.raises(ValueError, match="no frame 9, only 6 can be read"):
        read_frames(path, [1, 9])
    for places in ([-1, 2], [], torch.tensor([True, False]), [0.5]):
        with pytest.raises(ValueError, match="places = .*: give the numbers of some frames"):
            read_frames(path, places)
    with pytest.raises(ValueError, match="size = 0"):
        read_frames(path, size=0)
    (folder / "text.mp4").write_text("no video")
    with pytest.raises(ValueError, match="text.mp4: cannot be read as a video"):
        read_frames(folder / "text.mp4")
    with pytest.raises(ValueError, match="text.mp4: cannot be read as a video"):
        count_frames(folder / "text.mp4")
    with pytest.raises(ValueError, match="Curling: there is no such folder"):
        VideoFolder(folder / "Curling", frames=2, size=8)
    with pytest.raises(ValueError, match="none.txt: there is no such file"):
        VideoFolder(folder, frames=2, size=8, listing=folder / "none.txt")
    with pytest.raises(ValueError, match="there is no such file"):
        read_frames(folder / "none.avi")
    with pytest.raises(ValueError, match="no videos; put them in a folder a class"):
        VideoFolder(folder / "Archery", frames=2, size=8)
    (folder / "wrong.txt").write_text("Archery/none.avi 1\n")
    with pytest.raises(ValueError, match="1 of 1 videos are not in .* as .*none.avi"):
        VideoFolder(folder, frames=2, size=8, listing=folder / "wrong.txt")
    with pytest.raises(ValueError, match="a video of 6 frames: 7 at a stride of 1 need 7"):
        VideoFolder(folder, frames=7, size=8)[0]
