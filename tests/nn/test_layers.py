"""The operators as layers."""

from __future__ import annotations

import pytest
import torch

from cdifast import nn, ops


def test_log_activation_layer_learns_alpha() -> None:
    x = torch.randn(3, 4)
    assert torch.equal(nn.LogActivation(0.3)(x), ops.log_activation(x, 0.3))
    assert list(nn.LogActivation().parameters()) == []
    layer = nn.LogActivation(0.5, learnable=True)
    layer(x).sum().backward()
    (alpha,) = layer.parameters()
    assert alpha.grad is not None
    torch.testing.assert_close(alpha.grad, ops.log_activation(x, 1.0).sum())
    assert "alpha=0.5, learnable=True" in repr(layer)


def test_log_activation_layer_takes_the_bias_of_the_convolution_before() -> None:
    with_bias = torch.nn.Conv2d(1, 4, 3)
    convolution, layer = torch.nn.Conv2d(1, 4, 3, bias=False), nn.LogActivation(channels=4)
    assert torch.equal(layer.bias, torch.zeros(4))
    assert "learnable=False, channels=4" in repr(layer)
    convolution.load_state_dict({"weight": with_bias.weight})
    layer.load_state_dict({"bias": with_bias.bias})
    images = torch.rand(5, 1, 9, 9)
    found, expected = layer(convolution(images)), ops.log_activation(with_bias(images))
    torch.testing.assert_close(found, expected)
    found.square().sum().backward()
    expected.square().sum().backward()
    torch.testing.assert_close(layer.bias.grad, with_bias.bias.grad)
    torch.testing.assert_close(convolution.weight.grad, with_bias.weight.grad)


def test_polar_and_correlation_layers_compose_with_channels() -> None:
    images = torch.rand(5, 1, 33, 35)
    mask = torch.rand(33, 35) > 0.1
    polar = nn.PolarResample(12, 40, center=(15.2, 17.3), r_min=1.0, r_max=14.0, mask=mask, fill=0.5)
    expected = ops.polar_resample(images, 12, 40, center=(15.2, 17.3), r_min=1.0, r_max=14.0, mask=mask, fill=0.5)
    assert torch.equal(polar(images), expected)
    assert "mask" in polar.state_dict()
    layer = nn.CorrelationMap(order=4, part="abs", normalize="mean")
    assert torch.equal(layer(expected), ops.correlation_map(expected, order=4, part="abs", normalize="mean"))
    assert "order=4" in repr(layer)
    assert "12, 40" in repr(polar)


@pytest.mark.parametrize("scaling", ["log", "minmax"])
def test_each_triangle_is_scaled_on_its_own(scaling: str) -> None:
    maps = ops.correlation_map(torch.rand(4, 9, 40) + 1)
    scaled = nn.scale_triangles(maps, scaling)  # type: ignore[arg-type]
    lower = torch.ones(9, 9, dtype=torch.bool).tril()
    for triangle in (lower, ~lower):
        values, before = scaled[:, triangle], maps[:, triangle]
        torch.testing.assert_close(values.amin(1), torch.zeros(4))
        torch.testing.assert_close(values.amax(1), torch.ones(4))
        assert torch.equal(values.argsort(1), before.argsort(1))  # monotone
    # Blowing one triangle up does not touch the other.
    again = nn.scale_triangles(torch.where(lower, maps * 100, maps), scaling)  # type: ignore[arg-type]
    torch.testing.assert_close(again, scaled, rtol=1e-4, atol=1e-5)


def test_constant_and_tiny_maps_scale_without_nan() -> None:
    assert torch.equal(nn.scale_triangles(torch.full((2, 3, 3), 5.0)), torch.zeros(2, 3, 3))
    assert torch.equal(nn.scale_triangles(torch.ones(1, 1), "log"), torch.zeros(1, 1))
    with pytest.raises(ValueError, match=r"shape \(..., n, n\)"):
        nn.scale_triangles(torch.ones(3, 4))


@pytest.mark.parametrize("scaling", ["none", "log", "minmax"])
def test_layers_compile_without_a_graph_break_and_export(scaling: str) -> None:
    torch._dynamo.reset()
    model = torch.nn.Sequential(
        nn.LogActivation(),
        nn.PolarResample(10, 32),
        nn.CorrelationMap(order=4, scaling=scaling),  # type: ignore[arg-type]
    )
    images = torch.rand(3, 1, 20, 20)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(images), model(images), rtol=1e-5, atol=1e-6)
    exported = torch.export.export(model, (images,)).module()
    torch.testing.assert_close(exported(images), model(images), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scaling", ["log", "minmax"])
def test_large_maps_in_half_precision_scale_like_those_in_float32(scaling: str) -> None:
    maps = torch.rand(2, 6, 6).half() * 60000
    found = nn.scale_triangles(maps, scaling)  # type: ignore[arg-type]
    assert found.dtype == torch.float16
    torch.testing.assert_close(found, nn.scale_triangles(maps.float(), scaling).half())  # type: ignore[arg-type]


def test_the_way_back_and_the_fused_map_as_layers() -> None:
    images = torch.rand(2, 1, 41, 43)
    unwrapped = nn.PolarResample(12, 32)(images)
    back = nn.CartesianResample(41, 43, fill=-1.0)(unwrapped)
    assert torch.equal(back, ops.cartesian_resample(unwrapped, 41, 43, fill=-1.0))
    mask = torch.rand(41, 43) > 0.1
    layer = nn.PolarCorrelationMap(12, 32, mask=mask, order=4, normalize="mean", scaling="log")
    assert "mask" in layer.state_dict()
    expected = nn.scale_triangles(
        ops.polar_correlation_map(images, 12, 32, mask=mask, order=4, normalize="mean"), "log"
    )
    assert torch.equal(layer(images), expected)
    with pytest.raises(TypeError, match=r"unknown options \['ordre'\]"):
        nn.PolarCorrelationMap(12, 32, ordre=4)
