"""A small model zoo: LeNet and AlexNet in Caffe's text format, and the solver that trains LeNet.

The architectures are those of LeCun et al. 1998 as Caffe built it (ReLU between its last two layers, no sigmoids) and of
Krizhevsky et al. 2012 (layers in two groups, as its two GPUs had them); the training settings are those of Caffe's example.
"""

LENET_BODY = """
layer {
  name: "conv1"  type: "Convolution"  bottom: "data"  top: "conv1"
  param { lr_mult: 1 }  # the filters
  param { lr_mult: 2 }  # the biases learn twice as fast
  convolution_param {
    num_output: 20  kernel_size: 5
    weight_filler { type: "xavier" }
  }
}
layer {
  name: "pool1"  type: "Pooling"  bottom: "conv1"  top: "pool1"
  pooling_param { pool: MAX  kernel_size: 2  stride: 2 }
}
layer {
  name: "conv2"  type: "Convolution"  bottom: "pool1"  top: "conv2"
  param { lr_mult: 1 }
  param { lr_mult: 2 }
  convolution_param {
    num_output: 50  kernel_size: 5
    weight_filler { type: "xavier" }
  }
}
layer {
  name: "pool2"  type: "Pooling"  bottom: "conv2"  top: "pool2"
  pooling_param { pool: MAX  kernel_size: 2  stride: 2 }
}
layer {
  name: "ip1"  type: "InnerProduct"  bottom: "pool2"  top: "ip1"
  param { lr_mult: 1 }
  param { lr_mult: 2 }
  inner_product_param {
    num_output: 500
    weight_filler { type: "xavier" }
  }
}
layer { name: "relu1"  type: "ReLU"  bottom: "ip1"  top: "ip1" }
layer {
  name: "ip2"  type: "InnerProduct"  bottom: "ip1"  top: "ip2"
  param { lr_mult: 1 }
  param { lr_mult: 2 }
  inner_product_param {
    num_output: 10
    weight_filler { type: "xavier" }
  }
}
"""

LENET = f"""
name: "LeNet"
layer {{
  name: "data"  type: "Input"  top: "data"
  input_param {{ shape {{ dim: 64  dim: 1  dim: 28  dim: 28 }} }}
}}
{LENET_BODY}
layer {{ name: "prob"  type: "Softmax"  bottom: "ip2"  top: "prob" }}
"""

LENET_TRAIN = f"""
name: "LeNet"
layer {{
  name: "digits"  type: "HDF5Data"  top: "data"  top: "label"
  include {{ phase: TRAIN }}
  hdf5_data_param {{ source: "train.h5"  batch_size: 64 }}
}}
layer {{
  name: "digits"  type: "HDF5Data"  top: "data"  top: "label"
  include {{ phase: TEST }}
  hdf5_data_param {{ source: "test.h5"  batch_size: 100 }}
}}
{LENET_BODY}
layer {{
  name: "accuracy"  type: "Accuracy"
  bottom: "ip2"  bottom: "label"  top: "accuracy"
  include {{ phase: TEST }}
}}
layer {{
  name: "loss"  type: "SoftmaxWithLoss"
  bottom: "ip2"  bottom: "label"  top: "loss"
}}
"""

LENET_SOLVER = """
net: "lenet_train.prototxt"
base_lr: 0.01       # the rate at the start …
lr_policy: "inv"    # … times (1 + gamma * iteration) ^ -power
gamma: 0.0001
power: 0.75
momentum: 0.9
weight_decay: 0.0005
max_iter: 10000
test_iter: 10       # batches of a test
test_interval: 500
"""


def alexnet() -> str:
    """AlexNet with its two groups, for 227 x 227 pixels: 60,965,224 parameters."""
    parts = ['name: "AlexNet"\nlayer {\n  name: "data"  type: "Input"  top: "data"']
    parts += ["  input_param { shape { dim: 10  dim: 3  dim: 227  dim: 227 } }\n}"]
    bottom = "data"
    # name, filters, kernel, stride, padding, groups, local response normalisation, pooling
    for name, filters, kernel, stride, pad, groups, norm, pool in (
        ("1", 96, 11, 4, 0, 1, True, True),
        ("2", 256, 5, 1, 2, 2, True, True),
        ("3", 384, 3, 1, 1, 1, False, False),
        ("4", 384, 3, 1, 1, 2, False, False),
        ("5", 256, 3, 1, 1, 2, False, True),
    ):
        settings = f"num_output: {filters}  kernel_size: {kernel}  stride: {stride}  pad: {pad}  group: {groups}"
        filler = f'weight_filler {{ type: "gaussian"  std: 0.01 }}  bias_filler {{ type: "constant"  value: {int(groups > 1)} }}'
        settings = f"convolution_param {{\n    {settings}\n    {filler}\n  }}"
        parts += [_layer(f"conv{name}", "Convolution", bottom, settings, learns=True)]
        bottom = f"conv{name}"
        parts += [f'layer {{ name: "relu{name}"  type: "ReLU"  bottom: "{bottom}"  top: "{bottom}" }}']
        if norm:
            parts += [_layer(f"norm{name}", "LRN", bottom, "lrn_param { local_size: 5  alpha: 0.0001  beta: 0.75 }")]
            bottom = f"norm{name}"
        if pool:
            parts += [_layer(f"pool{name}", "Pooling", bottom, "pooling_param { pool: MAX  kernel_size: 3  stride: 2 }")]
            bottom = f"pool{name}"
    for name, units, std, shift in (("fc6", 4096, 0.005, 1), ("fc7", 4096, 0.005, 1), ("fc8", 1000, 0.01, 0)):
        filler = f'weight_filler {{ type: "gaussian"  std: {std} }}  bias_filler {{ type: "constant"  value: {shift} }}'
        settings = f"inner_product_param {{\n    num_output: {units}\n    {filler}\n  }}"
        parts += [_layer(name, "InnerProduct", bottom, settings, learns=True)]
        bottom = name
        if name != "fc8":
            parts += [f'layer {{ name: "relu{name[2]}"  type: "ReLU"  bottom: "{name}"  top: "{name}" }}']
            drop = f'layer {{ name: "drop{name[2]}"  type: "Dropout"  bottom: "{name}"  top: "{name}"'
            parts += [drop + "\n  dropout_param { dropout_ratio: 0.5 }\n}"]
    return "\n".join([*parts, 'layer { name: "prob"  type: "Softmax"  bottom: "fc8"  top: "prob" }\n'])


def _layer(name: str, kind: str, bottom: str, settings: str, *, learns: bool = False) -> str:
    """One layer's text."""
    rates = "\n  param { lr_mult: 1  decay_mult: 1 }\n  param { lr_mult: 2  decay_mult: 0 }" if learns else ""
    return f'layer {{\n  name: "{name}"  type: "{kind}"  bottom: "{bottom}"  top: "{name}"{rates}\n  {settings}\n}}'
