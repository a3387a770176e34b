"""Feature networks: offline, and torchvision's VGG19."""

import urllib.request

import pytest
import torch
from torchvision.models import VGG19_Weights, vgg19

from srkd import SrkdError, UsageError
from srkd.metrics.perceptual import load_lpips
from srkd.metrics.trunks import load_trunk


def test_trunks_stay_frozen():
    trunk = load_trunk("st-vgg", ["relu2_2"]).train()
    assert not any(module.training for module in trunk.modules())
    assert not any(parameter.requires_grad for parameter in trunk.parameters())
    assert list(trunk(torch.rand(1, 3, 32, 32))) == ["relu1_2", "relu2_2"]


def test_no_network_says_so(monkeypatch, tmp_path):
    """With no cached trunk and no way to fetch one, the message names the fix."""

    def unreachable(*_args, **_kwargs):
        raise OSError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    place = tmp_path / "hub" / "checkpoints"
    for load, name, file in (
        (load_lpips, "lpips-alex", "alexnet-owt-7be5be79.pth"),
        (load_lpips, "lpips-vgg", "vgg16-397923af.pth"),
        (load_trunk, "vgg19", "vgg19-dcbb9e9d.pth"),
    ):
        with pytest.raises(
            SrkdError, match=rf"fetch https://\S+/{file} and put it into {place}, or use .*st-"
        ):
            load(name)


def test_vgg19_reads_torchvisions_file(monkeypatch, tmp_path):
    """With the file in torch's cache, as a user with a network has it, its features are torchvision's."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    reference = vgg19(weights=None).eval()
    name = VGG19_Weights.IMAGENET1K_V1.url.rsplit("/", 1)[1]
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(reference.state_dict(), tmp_path / "hub" / "checkpoints" / name)
    features = load_trunk("vgg19", ["conv5_4", "relu2_2"])(torch.full((1, 3, 32, 32), 0.5))
    image = (0.5 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    image = image.view(1, 3, 1, 1).expand(1, 3, 32, 32)
    torch.testing.assert_close(features["conv5_4"], reference.features[:35](image))
    torch.testing.assert_close(features["relu2_2"], reference.features[:9](image))
    assert list(features) == ["relu2_2", "conv5_4"]
    # Before activation: what follows in the network must not overwrite it.
    image = torch.rand(2, 3, 32, 32)
    shift, spread = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    features = load_trunk("vgg19", ["conv2_2", "conv3_4", "relu3_4", "conv5_4"])(image)
    for name, end in (("conv2_2", 8), ("conv3_4", 17), ("relu3_4", 18), ("conv5_4", 35)):
        torch.testing.assert_close(features[name], reference.features[:end]((image - shift) / spread))
    assert all((features[name] < 0).any() for name in ("conv2_2", "conv3_4", "conv5_4"))


def test_unknown_layers_are_refused():
    with pytest.raises(UsageError, match="conv5_4"):
        load_trunk("vgg19", ["pool5"])
    with pytest.raises(UsageError, match="relu5_3"):
        load_trunk("st-vgg", ["conv5_4"])
