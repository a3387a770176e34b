"""Parameters and multiply-accumulates of weights in every format."""

import json

import numpy as np
import onnx
import pytest
import torch
from conftest import NETWORKS, build_network
from onnx import TensorProto, helper, numpy_helper

import srkd
from srkd import create_generator, save_generator
from srkd.exports.writing import write_onnx
from srkd.models.cost import count_macs, count_parameters
from srkd.models.fusing import fuse, merge
from srkd.weights.catalogue import list_shipped, shipped_folder
from srkd.weights.cost import Cost, count_cost


@pytest.mark.parametrize("name", ["paper", "lr", "span"])
def test_a_network_and_its_exports_cost_the_same(tmp_path, name):
    architecture, options = NETWORKS[name]
    model = build_network(architecture, options)
    for module in model.modules():
        if isinstance(module, torch.nn.PReLU):
            module.weight.data.normal_()  # an export holds equal values once
    path = save_generator(model, tmp_path / "x.safetensors")
    # What a fused network computes; batch norms are folded into convolutions.
    wanted = Cost(count_parameters(fuse(model)), count_macs(model, 4))
    assert count_cost(path).macs == wanted.macs
    write_onnx(model, tmp_path / "x.onnx")
    assert count_cost(tmp_path / "x.onnx") == wanted


def test_shipped_weights_cost_the_same_in_either_format():
    """Some of the ONNX files are in half precision, with casts behind the nodes that read them."""
    for name, entry in list_shipped().items():
        if "onnx" in entry:
            assert count_cost(shipped_folder() / entry["onnx"]) == count_cost(name), name


def test_merging_is_no_cost_of_a_network():
    model = create_generator("span", channels=8)
    convolutions = [module for module in merge(model).modules() if isinstance(module, torch.nn.Conv2d)]
    assert count_macs(model, 4) == sum(module.weight.numel() for module in convolutions) * 320 * 180


def test_a_quantized_graph_of_fixed_size_is_counted_in_proportion(tmp_path):
    weight = numpy_helper.from_array(np.zeros((48, 3, 3, 3), np.int8), "small")
    step = numpy_helper.from_array(np.ones((), np.float32), "step")
    nodes = [
        helper.make_node("DequantizeLinear", ["small", "step"], ["weight"]),
        helper.make_node("Conv", ["lr", "weight"], ["wide"], pads=[1, 1, 1, 1]),
        helper.make_node("DepthToSpace", ["wide"], ["sr"], blocksize=4, mode="CRD"),
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, side, side])
        for name, side in (("lr", 32), ("sr", 128))
    ]
    graph = helper.make_graph(nodes, "fixed", ends[:1], ends[1:], [weight, step])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, {"srkd": json.dumps({"config": {"scale": 4}, "radius": 1})})
    onnx.save(model, tmp_path / "fixed.onnx")
    assert count_cost(tmp_path / "fixed.onnx") == Cost(48 * 27, 48 * 27 * 180 * 320)


@pytest.mark.parametrize("scale", [2, 3])
def test_the_output_sets_the_size(tmp_path, scale):
    path = save_generator(create_generator("compact", scale, channels=8, convs=1), tmp_path / "x.safetensors")
    model = srkd.load_generator(path)
    assert count_cost(path, 90, 120).macs == count_macs(model, scale, 90, 120)
    assert count_cost(path).macs == count_macs(model, scale)
