"""Named networks: the weights belong to the names, and the layers are where they are said to be."""

from __future__ import annotations

import os
import pickle
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from nbutils.extraction import activations, models
from nbutils.extraction.activations import recording
from nbutils.extraction.photographs import sample_photographs


@pytest.fixture(scope="module")
def lite0():
    return models.load()


@pytest.fixture(scope="module")
def photographs():
    return sample_photographs()


def first_runs(model: nn.Module, layers: dict[str, str], batch: torch.Tensor) -> list[str]:
    """The layers in the order in which they give their output."""
    order, modules = [], dict(model.named_modules())
    hooks = [
        modules[path].register_forward_hook(lambda *_, name=name: order.append(name))
        for name, path in layers.items()
        if path != models.INPUT
    ]
    with torch.inference_mode():
        model(batch)
    for hook in hooks:
        hook.remove()
    return order


# --- EfficientNet-Lite0


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, expected",
    [
        ("cat", {"tabby", "tiger cat", "Persian cat", "Siamese cat", "Egyptian cat"}),
        ("coffee", {"espresso", "cup", "coffee mug"}),
        ("rocket", {"missile", "projectile"}),
        ("motorcycle", {"moped", "motor scooter", "disk brake"}),
        ("flower", {"daisy"}),
        ("admiral", {"military uniform"}),
    ],
)
def test_recognises_photographs(lite0, photographs, name, expected):
    [[(best, probability), (_, second)]] = models.predict(lite0, lite0.transform(photographs[name])[None], top=2)
    assert best in expected
    assert 1 >= probability >= second > 0


def test_cats_are_cats_together(lite0, photographs):
    best = models.predict(lite0, lite0.transform(photographs["cat"])[None], top=3)[0]
    assert sum(p for name, p in best if name in {"tabby", "tiger cat", "Egyptian cat"}) > 0.8


def test_classes(lite0):
    assert len(lite0.class_names) == 1000
    assert (lite0.class_names[0], lite0.class_names[281], lite0.class_names[999]) == ("tench", "tabby", "toilet tissue")


@pytest.mark.parametrize("pixel, value", [(0, -127 / 128), (127, 0.0), (255, 1.0)])
def test_pixels(lite0, pixel, value):
    x = lite0.transform(Image.new("RGB", (300, 260), (pixel, pixel, 127)))
    assert x.shape == (3, 224, 224) and x.dtype == torch.float32
    assert (x[:2] == value).all() and (x[2] == 0).all()


@pytest.mark.parametrize("size", [(448, 224), (224, 448), (600, 224)])
def test_centre_crop(lite0, size):
    # Red in the central square, where the image needs no scaling.
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    top, left = (size[1] - 224) // 2, (size[0] - 224) // 2
    pixels[top : top + 224, left : left + 224, 0] = 255
    x = lite0.transform(Image.fromarray(pixels))
    assert (x[0] == 1).all() and (x[1:] == -127 / 128).all()


def test_shorter_side_is_scaled(lite0):
    # Of 448 x 896 pixels the central half remains: a gradient from left to right runs from 1/4 to 3/4.
    ramp = np.broadcast_to(np.linspace(0, 255, 896).astype(np.uint8)[None, :, None], (448, 896, 3))
    x = lite0.transform(Image.fromarray(ramp.copy())) * 128 + 127
    assert x[0, 100, 0].item() == pytest.approx(255 / 4, abs=2)
    assert x[0, 100, -1].item() == pytest.approx(255 * 3 / 4, abs=2)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK"])
def test_other_images_become_colour(lite0, mode):
    assert lite0.transform(Image.new("RGB", (230, 230), (255, 255, 255)).convert(mode)).shape == (3, 224, 224)


def test_layers_in_the_order_of_the_forward_pass(lite0):
    names = list(lite0.layers)
    assert names == ["input", "stem", *(f"stage {i}" for i in range(1, 8)), "head", "pool", "logits"]
    assert first_runs(lite0.model, lite0.layers, torch.zeros(1, 3, 64, 64)) == names[1:]


def test_shapes_of_the_layers(lite0):
    with recording(lite0.model, lite0.layers) as outputs, torch.inference_mode():
        logits = lite0.model(torch.zeros(1, 3, 224, 224))
    assert outputs["input"].shape == (1, 3, 224, 224)
    assert outputs["stem"].shape == (1, 32, 112, 112)
    assert outputs["head"].shape == (1, 1280, 7, 7)
    assert outputs["pool"].shape == (1, 1280)
    assert torch.equal(outputs["logits"], logits)
    # The stem and the head are recorded after their non-linearity, ReLU6.
    assert outputs["stem"].min() >= 0 and outputs["stem"].max() <= 6


def test_predict_needs_names(lite0):
    nameless = models.Network("mine", nn.Linear(2, 3), {}, transform=None)
    with pytest.raises(ValueError, match="class_names"):
        models.predict(nameless, torch.zeros(1, 2))


# --- random weights, fingerprints


def test_random_weights_follow_the_seed(lite0):
    fingerprints = [models.fingerprint(models.load(weights="random", seed=seed).model) for seed in (0, 0, 1)]
    assert fingerprints[0] == fingerprints[1]
    assert len({*fingerprints, models.fingerprint(lite0.model)}) == 3
    assert models.load(weights="random", seed=7).weights == "random, seed 7"


def test_loading_leaves_the_random_numbers_of_others_alone():
    before = torch.get_rng_state()
    models.load("resnet18", weights="random", seed=0)
    assert torch.equal(torch.get_rng_state(), before)


def small_network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4))


@pytest.mark.parametrize(
    "path, at", [("0.weight", (0, 0, 0, 0)), ("3.bias", (2,)), ("4.running_var", (1,)), ("4.num_batches_tracked", ())]
)
def test_fingerprint_sees_every_number(path, at):
    model = small_network()
    before = models.fingerprint(model)
    state = model.state_dict()
    value = state[path]
    value[at] = value[at] + 1 if not value.is_floating_point() else torch.nextafter(value[at], torch.tensor(9.0))
    assert models.fingerprint(model) != before


def test_fingerprint_does_not_depend_on_the_layout():
    model = small_network()
    before = models.fingerprint(model)
    assert models.fingerprint(model.to(memory_format=torch.channels_last)) == before
    assert models.fingerprint(small_network().bfloat16()) != before


# --- calibration


def test_calibrate_gives_the_signal_unit_scale():
    model, x = small_network().eval(), torch.randn(64, 3, 12, 12) * 5 + 3
    models.calibrate(model, [x[:32], x[32:]])
    with torch.inference_mode():
        y = model(x)
    assert y.mean((0, 2, 3)).abs().max() < 0.1
    assert (y.std((0, 2, 3)) - 1).abs().max() < 0.1


def test_calibrate_averages_batches_with_equal_weight():
    norm = nn.BatchNorm2d(1)
    models.calibrate(norm, [torch.full((2, 1, 2, 2), 1.0), torch.full((6, 1, 2, 2), 4.0)])
    assert norm.running_mean.item() == pytest.approx(2.5)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("fails", [False, True])
def test_calibrate_changes_only_running_statistics(training, fails):
    model = small_network().train(training)
    model[1].momentum, model[4].training = 0.03, False
    flags = [module.training for module in model.modules()]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    if fails:
        with pytest.raises(RuntimeError):
            models.calibrate(model, [torch.randn(8, 3, 12, 12), torch.randn(8, 5, 12, 12)])
    else:
        models.calibrate(model, [torch.randn(8, 3, 12, 12)])
    assert [module.training for module in model.modules()] == flags
    assert (model[1].momentum, model[4].momentum) == (0.03, 0.1)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {f"{i}.{name}" for i in (1, 4) for name in ("running_mean", "running_var", "num_batches_tracked")}


def test_calibrate_without_batches():
    model = small_network()
    before = models.fingerprint(model)
    with pytest.raises(ValueError, match="batches is empty"):
        models.calibrate(model, [])
    assert models.fingerprint(model) == before


# --- unknown names


def test_unknown_names():
    with pytest.raises(ValueError, match=r"name='resnet9999' .*list_models"):
        models.load("resnet9999")
    with pytest.raises(ValueError, match="'imagenet', 'random' or the path of a file, not 'imagenet21k'"):
        models.load(weights="imagenet21k")


# --- torchvision


def stages(count: int) -> list[str]:
    return [f"stage {i + 1}" for i in range(count)]


@pytest.mark.parametrize(
    "name, names, side",
    [
        ("resnet18", ["input", "stem", *stages(4), "pool", "logits"], 64),
        ("vgg11", ["input", *stages(5), "pool", "logits"], None),
        ("alexnet", ["input", *stages(3), "pool", "logits"], 64),
        ("densenet121", ["input", "stem", *stages(4), "logits"], 64),
        ("googlenet", ["input", "stem", *stages(9), "pool", "logits"], 64),
        ("vit_b_16", ["input", "stem", *stages(12), "norm", "logits"], None),
        ("mobilenet_v2", ["input", "stem", *stages(18), "logits"], 64),
        ("squeezenet1_1", ["input", *stages(11), "logits"], 64),
        ("shufflenet_v2_x0_5", ["input", "stem", *stages(3), "logits"], 64),
        ("regnet_y_400mf", ["input", "stem", *stages(4), "pool", "logits"], 64),
        ("convnext_tiny", ["input", "stem", *stages(7), "pool", "logits"], None),
        ("swin_t", ["input", "stem", *stages(7), "norm", "pool", "logits"], None),
    ],
)
def test_layers_of_torchvision_networks(name, names, side):
    """Where `side` is given, the network also runs, and its layers in the order in which they are named."""
    from torchvision import models as torchvision_models

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # GoogLeNet tells of its initialisation
        with torch.device("cpu" if side else "meta"):
            model = torchvision_models.get_model(name, weights=None).eval()
    layers = models.named_layers(model)
    assert list(layers) == names
    assert {path for path in layers.values()} <= dict(model.named_modules()).keys()
    if side:
        assert first_runs(model, layers, torch.zeros(1, 3, side, side)) == names[1:]


def test_a_stage_of_vgg_ends_where_the_image_shrinks():
    from torchvision import models as torchvision_models

    with torch.device("meta"):
        model = torchvision_models.vgg16()
    modules = dict(model.named_modules())
    paths = [path for name, path in models.named_layers(model).items() if name.startswith("stage")]
    assert len(paths) == 5 and all(isinstance(modules[path], nn.MaxPool2d) for path in paths)


def test_other_networks_keep_their_own_names():
    class Mine(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.fc = nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2)

    assert models.named_layers(Mine()) == {"input": "", "first": "first", "second": "second", "fc": "fc"}
    assert models.named_layers(nn.Sequential(nn.ReLU(), nn.ReLU())) == {"input": "", "0": "0", "1": "1"}


def test_torchvision_without_network(monkeypatch, photographs):
    monkeypatch.setattr(torch.hub, "download_url_to_file", lambda *a, **k: pytest.fail("tried to download"))
    network = models.load("resnet18", weights="random", seed=3)
    assert network.weights == "random, seed 3" and not network.model.training
    assert models.fingerprint(network.model) == models.fingerprint(models.load("resnet18", "random", 3).model)
    assert network.class_names[281] == "tabby" and "224" in network.preprocessing
    x = network.transform(photographs["cat"])
    assert x.shape == (3, 224, 224)
    # ImageNet's mean and deviation, torchvision's convention: a black pixel of the red channel.
    black = network.transform(Image.new("RGBA", (300, 300), (0, 0, 0, 255)))
    assert black[0, 0, 0].item() == pytest.approx(-0.485 / 0.229)


@pytest.mark.parametrize("name", ["efficientnet_lite0", "resnet18"])
def test_preprocessing_can_be_sent_to_worker_processes(name):
    transform = pickle.loads(pickle.dumps(models.load(name, weights="random").transform))
    assert transform(Image.new("RGB", (250, 250))).shape == (3, 224, 224)


# --- shapes without numbers, and weights of one's own


def test_shapes_without_weights_or_memory():
    with torch.device("meta"):
        network = models.load("resnet152", "random")
        assert next(network.model.parameters()).device.type == "meta"
        shapes = activations.layer_shapes(network)
    assert shapes == activations.layer_shapes(network) and list(shapes) == [
        "input",
        "stem",
        *stages(4),
        "pool",
        "logits",
    ]
    assert shapes["input"] == (3, 224, 224) and shapes["stage 3"] == (1024, 14, 14) and shapes["logits"] == (1000,)


def test_shapes_are_those_of_a_real_run(lite0):
    shapes = activations.layer_shapes(lite0)
    assert list(shapes) == list(lite0.layers) and shapes["stem"] == (32, 112, 112) and shapes["pool"] == (1280,)


CHECKPOINTS = {
    "plain": lambda state: state,
    "of a loop": lambda state: {"epoch": 3, "state_dict": state, "best": 0.7},
    "under model": lambda state: {"model": state, "optimizer": {"lr": 0.1}},
    "under model_state_dict": lambda state: {"model_state_dict": state},
    "parallel": lambda state: {f"module.{name}": value for name, value in state.items()},
    "compiled and parallel": lambda state: {"model": {f"module._orig_mod.{name}": v for name, v in state.items()}},
    "of a trainer": lambda state: {"state_dict": {f"model.{name}": value for name, value in state.items()}},
}


@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_weights_from_a_file(tmp_path, kind):
    made = models.load("squeezenet1_1", "random", seed=5)
    torch.save(CHECKPOINTS[kind](made.model.state_dict()), tmp_path / "mine.pt")
    found = models.load("squeezenet1_1", str(tmp_path / "mine.pt"))
    assert models.fingerprint(found.model) == models.fingerprint(made.model) and found.weights == "mine.pt"
    assert not found.model.training and found.layers == made.layers


def test_a_prefix_that_belongs_to_the_network_stays(tmp_path):
    network = models.Network("mine", nn.ModuleDict({"model": nn.Linear(2, 3)}), {}, transform=None)
    before = models.fingerprint(network.model)
    for name, prefix in (("a.pt", ""), ("b.pt", "module.")):
        state = {prefix + key: value for key, value in network.model.state_dict().items()}
        torch.save(state, tmp_path / name)
        assert models.fingerprint(models.with_weights(network, tmp_path / name).model) == before


def test_old_files_lack_the_counts_of_the_normalisation(tmp_path):
    network = models.Network("mine", small_network(), {}, transform=None)
    state = {key: value for key, value in network.model.state_dict().items() if "tracked" not in key}
    torch.save({f"module.{key}": value for key, value in state.items()}, tmp_path / "old.pt")
    before = models.fingerprint(network.model)
    assert models.fingerprint(models.with_weights(network, tmp_path / "old.pt").model) == before


def test_weights_for_another_number_of_classes(tmp_path):
    """A network that was trained further on ten classes of one's own."""
    from torchvision.models import squeezenet1_1

    torch.manual_seed(0)
    ours = squeezenet1_1(num_classes=10).eval()
    torch.save(ours.state_dict(), tmp_path / "mine.pt")
    found = models.load("squeezenet1_1", str(tmp_path / "mine.pt"))
    x = torch.randn(2, 3, 64, 64)
    assert torch.equal(found.model(x), ours(x)) and found.class_names == ()
    assert activations.layer_shapes(found)["logits"] == (10, 1, 1) and "512, 10," in repr(found.model)
    hidden = {**ours.state_dict(), "features.3.squeeze.weight": torch.zeros(17, 64, 1, 1)}
    torch.save(hidden, tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"features\.3\.squeeze\.weight has the shape \(17, 64, 1, 1\), and in"):
        models.load("squeezenet1_1", str(tmp_path / "other.pt"))


def without_the_last(state):
    return dict(list(state.items())[:-1])


class Evil:
    def __reduce__(self):
        return print, ("code ran",)


@pytest.mark.parametrize(
    "content, words",
    [
        (
            lambda: without_the_last(models.load("squeezenet1_1", "random").model.state_dict()),
            "do not fit squeezenet1_1: classifier.1.bias is missing",
        ),
        (
            lambda: {**models.load("squeezenet1_1", "random").model.state_dict(), "more": torch.ones(1)},
            "do not fit squeezenet1_1: the network has no more",
        ),
        (lambda: {"a": torch.ones(2)}, "do not fit squeezenet1_1: features.0.weight is missing"),
        (Evil, r"holds a (builtins\.)?print, .* could run code: save the weights with torch\.save\(model\.state_dict"),
        (
            lambda: nn.Linear(2, 2),
            r"holds a torch\.nn\.modules\.linear\.Linear, .* could run code: save the weights with ",
        ),
        (lambda: b"no weights", "is damaged, or not a file that torch.save wrote"),
        (lambda: [1, 2], r"holds a list, not the weights of a network: save them with torch\.save"),
        (lambda: {"epoch": 3, "lr": 0.1}, "holds a dict with 'epoch', 'lr', not the weights of a network"),
        (lambda: {}, "holds a dict, not the weights of a network"),
    ],
    ids=["missing", "extra", "others", "code", "module", "damaged", "list", "no weights", "empty"],
)
def test_files_that_hold_no_weights_for_this_network(tmp_path, capsys, content, words):
    path, content = tmp_path / "mine.pt", content()
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(ValueError, match=rf"weights='.*mine\.pt' {words}") as caught:
        models.load("squeezenet1_1", path)
    assert "code ran" not in capsys.readouterr().out
    assert "\x1b" not in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("size", [0, 1, 100, 2000])
def test_files_of_weights_that_were_cut_short(tmp_path, size):
    torch.save(models.load("squeezenet1_1", "random").model.state_dict(), tmp_path / "mine.pt")
    os.truncate(tmp_path / "mine.pt", size)
    with pytest.raises(ValueError, match=r"mine\.pt' is damaged, or not a file that torch\.save wrote"):
        models.load("squeezenet1_1", tmp_path / "mine.pt")


def test_no_such_file_of_weights():
    with pytest.raises(ValueError, match=r"weights must be 'imagenet', 'random' or the path of a file, not 'none\.pt'"):
        models.load("squeezenet1_1", "none.pt")
    network = models.Network("mine", nn.Linear(2, 3), {}, transform=None)
    with pytest.raises(FileNotFoundError):
        models.with_weights(network, "none.pt")


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes")])
def test_a_lack_of_memory_is_no_damage(tmp_path, monkeypatch, error):
    def fail(*arguments, **options):
        raise error

    (tmp_path / "mine.pt").write_bytes(b"sound")
    monkeypatch.setattr(torch, "load", fail)
    with pytest.raises(MemoryError):
        models.load("squeezenet1_1", tmp_path / "mine.pt")


# --- timm


@pytest.mark.parametrize(
    "name, names",
    [
        ("vit_tiny_patch16_224", ["input", "stem", *stages(12), "norm", "logits"]),
        ("swin_tiny_patch4_window7_224", ["input", "stem", *stages(4), "norm", "logits"]),
        ("convnext_atto", ["input", "stem", *stages(4), "logits"]),
        ("timm/resnet18", ["input", "stem", *stages(4), "pool", "logits"]),
        ("efficientnet_b0", ["input", "stem", *stages(7), "pool", "logits"]),
        ("regnety_002", ["input", "stem", *stages(4), "logits"]),
        ("mixer_s16_224", ["input", "stem", *stages(8), "norm", "logits"]),
    ],
)
def test_layers_of_timm_networks(name, names):
    with torch.device("meta"):
        if name.endswith(("resnet18", "convnext_atto")):
            network = models.load(name, "random")
            assert list(activations.layer_shapes(network)) == list(network.layers)
        else:
            import timm

            network = models.Network(name, timm.create_model(name), {}, transform=None)
    assert list(models.named_layers(network.model)) == names


def test_a_transformer_of_timm_without_download(tmp_path, monkeypatch, photographs):
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda *a, **k: pytest.fail("tried to download"))
    network = models.load("vit_tiny_patch16_224", "random", seed=3)
    again = models.load("timm/vit_tiny_patch16_224", "random", seed=3)
    assert models.fingerprint(network.model) == models.fingerprint(again.model) and network.weights == "random, seed 3"
    assert len(network.class_names) == 21843 or network.class_names[281].startswith("tabby")
    # Its own preprocessing: timm's transformers were trained on pixels from -1 to 1.
    black = pickle.loads(pickle.dumps(network.transform))(Image.new("RGBA", (300, 300), (0, 0, 0, 255)))
    assert black.shape == (3, 224, 224) and (black == -1).all()
    images = torch.stack([network.transform(photographs[name]) for name in ("cat", "rocket", "flower")])
    layers = {"tokens": "blocks.3", "class token": "blocks.3", "mean": "blocks.3", "logits": "head"}
    reduce = {"class token": "token", "mean": "token mean"}
    store = activations.extract(
        network.model, images, layers, tmp_path, dtype="float32", device="cpu", reduce=reduce, batch_size=3
    )
    with torch.inference_mode():
        tokens = network.model.forward_intermediates(
            images, indices=[3], return_prefix_tokens=True, intermediates_only=True, output_fmt="NLC"
        )[0]
        logits = network.model(images)
    whole = torch.cat([tokens[1], tokens[0]], 1)
    np.testing.assert_allclose(store["tokens"], whole.flatten(1), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(store["class token"], whole[:, 0], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(store["mean"], whole.mean(1), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(store["logits"], logits, rtol=1e-4, atol=1e-4)


def test_timm_networks_without_trained_weights(monkeypatch):
    import timm

    def create(name, pretrained):
        raise RuntimeError(f"No pretrained weights exist for {name}. Use `pretrained=False` for random init.")

    monkeypatch.setattr(timm, "create_model", create)
    with pytest.raises(ValueError, match="'vit_tiny_patch16_224' has no trained weights in timm: use weights='random'"):
        models.load("vit_tiny_patch16_224")


def test_predict_without_parameters():
    network = models.Network("mine", nn.Flatten(), {}, transform=None, class_names=("a", "b"))
    [[(best, _)]] = models.predict(network, torch.tensor([[0.0, 1.0]]), top=1)
    assert best == "b"


def test_lite0_for_small_pictures():
    """The same weights, for 128 x 128 pixels, with the end of each of the 16 blocks as a layer."""
    small, large = models.load("efficientnet_lite0_128"), models.load("efficientnet_lite0")
    assert models.fingerprint(small.model) == models.fingerprint(large.model)
    assert small.class_names == large.class_names
    counts = (1, 2, 2, 3, 3, 4, 1)
    blocks = [f"stage {i}.{j + 1}" for i, count in enumerate(counts, 1) for j in range(count)]
    assert list(small.layers) == ["input", "stem", *blocks, "head", "pool", "logits"]
    with torch.inference_mode(), recording(small.model, {**small.layers, **large.layers}) as outputs:
        small.model(torch.rand(1, 3, 128, 128))
    for i, count in enumerate(counts, 1):
        assert torch.equal(outputs[f"stage {i}"], outputs[f"stage {i}.{count}"])
    assert outputs["logits"].shape == (1, 1000)


def test_small_pictures_are_enlarged_without_smoothing():
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    transform = models.load("efficientnet_lite0_128", "random").transform
    found = transform(Image.fromarray(pixels))
    bicubic = np.asarray(Image.fromarray(pixels).resize((128, 128), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(found.numpy(), (bicubic.transpose(2, 0, 1).astype(np.float32) - 127) / 128)
    assert transform(Image.new("L", (300, 200))).shape == (3, 128, 128)
