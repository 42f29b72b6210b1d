"""Pickles as the official releases write them, made of plain arrays without PyTorch or TensorFlow.

Python's own pickler does the writing. What it writes for modules, tensors and storages is told by stand-ins that lie
under the official module names while it does, and nowhere afterwards.
"""

import io
import pickle
import struct
import sys
import zipfile
from collections import OrderedDict
from contextlib import contextmanager
from types import ModuleType

import numpy as np

STORAGES = {"f4": "FloatStorage", "f2": "HalfStorage", "f8": "DoubleStorage", "i8": "LongStorage", "u1": "ByteStorage"}
# What a file carries as the source of its modules. It leaves a mark where it is executed.
SOURCE = "open({marker!r}, 'w').write('executed')\n"


class EasyDict(dict):
    pass


class Network:
    pass


class Called:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


@contextmanager
def official_modules():
    """The official modules, with stand-ins that know their names and nothing else."""
    made = {}

    def place(module, name, value=None):
        parts = module.split(".")
        for depth in range(1, len(parts) + 1):
            dotted = ".".join(parts[:depth])
            made.setdefault(dotted, ModuleType(dotted))
        if value is None:

            def value(*_):
                raise AssertionError(f"{name} was called")

        value.__module__, value.__name__, value.__qualname__ = module, name, name
        setattr(made[module], name, value)
        return value

    functions = {
        "module": place("torch_utils.persistence", "_reconstruct_persistent_obj"),
        "tensor": place("torch._utils", "_rebuild_tensor_v2"),
        "parameter": place("torch._utils", "_rebuild_parameter"),
        "storage": place("torch.storage", "_load_from_bytes"),
    }
    for name in [*STORAGES.values(), "BFloat16Storage"]:
        functions[name] = place("torch", name, type(name, (), {}))
    place("dnnlib.util", "EasyDict", EasyDict)
    place("dnnlib.tflib.network", "Network", Network)
    hidden = {name: sys.modules.get(name) for name in made}
    sys.modules.update(made)
    try:
        yield functions
    finally:
        for name, module in hidden.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


class _WithStorages(pickle.Pickler):
    """Writes a storage by reference, as PyTorch does: word, type, key, device, numbers."""

    def __init__(self, file, type_, key, num, view):
        super().__init__(file, protocol=2)
        self.given = ("storage", type_, key, "cpu", num, *view)

    def persistent_id(self, value):
        return self.given if value is _STORAGE else None


_STORAGE = object()


def legacy_stream(values, type_, *, key="94021", declared=None):
    """A storage in PyTorch's old form: five pickles and raw bytes."""
    file = io.BytesIO()
    for value in (0x1950A86A20F9469CFC6C, 1001):
        pickle.dump(value, file, protocol=2)
    sizes = {"short": 2, "int": 4, "long": 4}
    pickle.dump({"protocol_version": 1001, "little_endian": True, "type_sizes": sizes}, file, protocol=2)
    num = len(values) if declared is None else declared
    _WithStorages(file, type_, key, num, (None,)).dump(_STORAGE)
    pickle.dump([key], file, protocol=2)
    file.write(struct.pack("<q", num) + values.tobytes())
    return file.getvalue()


def zip_stream(values, type_, *, compression=zipfile.ZIP_STORED):
    """A storage in PyTorch's new form."""
    described = io.BytesIO()
    _WithStorages(described, type_, "0", len(values), ()).dump(_STORAGE)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr("archive/data.pkl", described.getvalue())
        archive.writestr("archive/byteorder", b"little")
        archive.writestr("archive/data/0", values.tobytes())
        archive.writestr("archive/version", b"3\n")
    return file.getvalue()


class TorchWriter:
    """Writes what PyTorch's pickles hold. `half` stores numbers as float16, `zipped` in the new form.

    Every array is stored with three numbers before it and its axes reversed, so that offset and steps must be read.
    """

    def __init__(self, functions, *, half=False, zipped=False, marker="marker"):
        self.functions, self.half, self.zipped, self.marker = functions, half, zipped, marker

    def storage(self, values):
        type_ = self.functions[STORAGES[values.dtype.str[1:]]]
        return Called(self.functions["storage"], (zip_stream if self.zipped else legacy_stream)(values, type_))

    def tensor(self, array):
        values = np.asarray(array, np.float16 if self.half else np.float32)
        turned = np.array(values.T, order="C")
        steps = tuple(step // values.itemsize for step in turned.T.strides)
        storage = self.storage(np.concatenate([np.full(3, 7, values.dtype), turned.ravel()]))
        return Called(self.functions["tensor"], storage, 3, values.shape, steps, False, OrderedDict())

    def parameter(self, array):
        return Called(self.functions["parameter"], self.tensor(array), True, OrderedDict())

    def module(self, name, *, parameters=(), buffers=(), modules=(), **attributes):
        state = {
            "training": False,
            "_parameters": OrderedDict((key, self.parameter(value)) for key, value in dict(parameters).items()),
            "_buffers": OrderedDict((key, self.tensor(value)) for key, value in dict(buffers).items()),
            "_non_persistent_buffers_set": set(),
            "_backward_hooks": OrderedDict(),
            "_modules": OrderedDict(modules),
            "_init_args": (),
            "_init_kwargs": EasyDict(),
            **attributes,
        }
        source = SOURCE.format(marker=self.marker)
        meta = EasyDict(type="class", version=6, module_src=source, class_name=name, state=state)
        return Called(self.functions["module"], meta)

    def network(self, arrays, name, **attributes):
        """A tree of modules from arrays by dotted names."""
        parameters, buffers, below = {}, {}, {}
        for key, value in arrays.items():
            first, _, rest = key.partition(".")
            if rest:
                below.setdefault(first, {})[rest] = value
            else:
                (buffers if first in BUFFERS else parameters)[first] = value
        own = dict(attributes)
        if "noise_const" in buffers:
            own |= {"activation": "lrelu", "act_gain": np.sqrt(2), "conv_clamp": attributes.get("conv_clamp")}
            buffers["resample_filter"] = FILTER
        if name.startswith("b") and name[1:].isdigit():
            own.setdefault("architecture", "skip")
        if name.startswith("fc"):
            own |= {"weight_gain": np.float64(0.01), "bias_gain": attributes.get("bias_gain", 0.01)}
        passed = {key: attributes[key] for key in ("conv_clamp", "architecture", "bias_gain") if key in attributes}
        modules = [(key, self.network(value, key, **passed)) for key, value in below.items()]
        return self.module(name, parameters=parameters, buffers=buffers, modules=modules, **own)


BUFFERS = ("noise_const", "w_avg", "resample_filter")
FILTER = (np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64).astype(np.float32)


def parts(golden, prefix):
    """The arrays of `G` or `D` by their official names."""
    return {name[2:]: value for name, value in golden.items() if name.startswith(f"{prefix}.")}


def torch_pickle(golden, *, half=False, zipped=False, marker="marker", protocol=4, discriminator=True, **attributes):
    """The bytes of a file of the PyTorch release; `discriminator` is False, or extra attributes of its modules."""
    with official_modules() as functions:
        writer = TorchWriter(functions, half=half, zipped=zipped, marker=str(marker))
        generator = writer.network(parts(golden, "G"), "Generator", **attributes)
        other = {name: value + 1 for name, value in parts(golden, "G").items()}
        content = {
            "training_set_kwargs": EasyDict(class_name="training.dataset.ImageFolderDataset", path="a.zip"),
            "G": writer.network(other, "Generator"),
            "D": writer.network(
                parts(golden, "D"), "Discriminator", **(discriminator if discriminator is not True else {})
            )
            if discriminator
            else None,
            "G_ema": generator,
            "augment_pipe": None,
        }
        return pickle.dumps(content, protocol)


def tensorflow_pickle(golden, **settings):
    """The bytes of a file of the TensorFlow 1 releases, by their description."""
    with official_modules():
        generator = _network("G_main", {"lod": np.float32(0), "dlatent_avg": golden["G.mapping.w_avg"]}, settings)
        both = _tensorflow_generator(parts(golden, "G"))
        generator.__dict__["components"] = EasyDict(
            synthesis=_network("G_synthesis", both["synthesis"], settings),
            mapping=_network("G_mapping", both["mapping"], {}),
        )
        discriminator = _network("D_stylegan2", _tensorflow_discriminator(parts(golden, "D")), {})
        return pickle.dumps((generator, discriminator, generator), protocol=3)


def _network(name, variables, settings):
    network = Network()
    network.__dict__ |= {
        "version": 4,
        "name": name,
        "static_kwargs": EasyDict(settings),
        "components": EasyDict(),
        "build_module_src": SOURCE.format(marker="marker"),
        "build_func_name": name,
        "variables": [(key, np.array(value, np.float32)[()]) for key, value in variables.items()],
    }
    return network


def _tensorflow_generator(arrays):
    synthesis, mapping, noises = {}, {}, []
    for name, value in arrays.items():
        path = name.split(".")
        if path[0] == "mapping" and path[1] != "w_avg":
            layer = "LabelEmbed" if path[1] == "embed" else f"Dense{path[1][2:]}"
            mapping[f"{layer}/{path[2]}"] = value.T
        elif path[0] == "synthesis":
            size = path[1][1:]
            layer = {"conv0": "Conv0_up", "conv1": "Conv" if size == "4" else "Conv1", "torgb": "ToRGB"}.get(path[2])
            rest = ".".join(path[3:])
            if path[2] == "const":
                synthesis["4x4/Const/const"] = value[None]
            elif rest == "noise_const":
                noises.append((int(size), path[2], value))
            elif rest == "affine.weight":
                synthesis[f"{size}x{size}/{layer}/mod_weight"] = value.T
            elif rest == "affine.bias":
                synthesis[f"{size}x{size}/{layer}/mod_bias"] = value - 1
            elif rest == "weight":
                turned = value.transpose(2, 3, 1, 0)
                synthesis[f"{size}x{size}/{layer}/weight"] = turned[::-1, ::-1] if path[2] == "conv0" else turned
            else:
                synthesis[f"{size}x{size}/{layer}/{rest}"] = value
    for number, (_, _, value) in enumerate(sorted(noises, key=lambda noise: noise[:2])):
        synthesis[f"noise{number}"] = value[None, None]
    return {"synthesis": synthesis, "mapping": mapping}


def _tensorflow_discriminator(arrays):
    names = {"conv0": "Conv0", "conv1": "Conv1_down", "skip": "Skip", "fromrgb": "FromRGB", "conv": "Conv"}
    found = {}
    for name, value in arrays.items():
        block, layer, kind = name.split(".")
        size = block[1:]
        value = value.transpose(2, 3, 1, 0) if value.ndim == 4 else value.T
        if layer == "out":
            found[f"Output/{kind}"] = value
        else:
            found[f"{size}x{size}/{'Dense0' if layer == 'fc' else names[layer]}/{kind}"] = value
    return found
