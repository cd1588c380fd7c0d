"""Runs an exported model by TensorFlow's C API, in a process without Python TensorFlow.

    python tests/helpers/c_api.py MODEL CASES.json ARRAYS.npz OUTPUT.npz

The cases are [{"inputs": {tensor name: key in ARRAYS}, "outputs": [tensor name, ...]}, ...].
Written are "CASE/TENSOR NAME" for each output, or "CASE/error". TF_LoadSessionFromSavedModel is the
loader that TF-Serving uses. Declarations: tensorflow/c/c_api.h.
"""

import ctypes
import importlib.util
import json
import sys
from pathlib import Path

import numpy as np

CODES = {1: np.float32, 3: np.int32}
POINTERS = (
    "TF_NewStatus TF_NewGraph TF_NewSessionOptions TF_LoadSessionFromSavedModel TF_AllocateTensor "
    "TF_TensorData TF_GraphOperationByName TF_GetAllOpList"
)


class Output(ctypes.Structure):
    _fields_ = [("operation", ctypes.c_void_p), ("index", ctypes.c_int)]


class Buffer(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("length", ctypes.c_size_t),
        ("deallocator", ctypes.c_void_p),
    ]


def library():
    # found, not imported
    folder = Path(importlib.util.find_spec("tensorflow").origin).parent
    lib = ctypes.CDLL(str(folder / "libtensorflow_cc.so.2"))
    for name in POINTERS.split():
        getattr(lib, name).restype = ctypes.c_void_p
    lib.TF_Message.restype = ctypes.c_char_p
    lib.TF_Dim.restype = ctypes.c_int64
    return lib


class Model:
    def __init__(self, path):
        self.lib = library()
        self.status = ctypes.c_void_p(self.lib.TF_NewStatus())
        self.graph = ctypes.c_void_p(self.lib.TF_NewGraph())
        options = ctypes.c_void_p(self.lib.TF_NewSessionOptions())
        tags = (ctypes.c_char_p * 1)(b"serve")
        session = self.lib.TF_LoadSessionFromSavedModel(
            options, None, str(path).encode(), tags, 1, self.graph, None, self.status
        )
        self.check()
        self.session = ctypes.c_void_p(session)

    def check(self):
        if self.lib.TF_GetCode(self.status):
            raise RuntimeError(self.lib.TF_Message(self.status).decode())

    def end(self, name):
        """What a name like "operation:0" stands for."""
        operation, index = name.split(":")
        found = self.lib.TF_GraphOperationByName(self.graph, operation.encode())
        assert found, name
        return Output(found, int(index))

    def tensor(self, array):
        code = {np.dtype(v): k for k, v in CODES.items()}[array.dtype]
        dims = (ctypes.c_int64 * array.ndim)(*array.shape)
        size = ctypes.c_size_t(array.nbytes)
        made = ctypes.c_void_p(self.lib.TF_AllocateTensor(code, dims, array.ndim, size))
        ctypes.memmove(self.lib.TF_TensorData(made), array.tobytes(), array.nbytes)
        return made

    def array(self, tensor):
        shape = [self.lib.TF_Dim(tensor, i) for i in range(self.lib.TF_NumDims(tensor))]
        dtype = np.dtype(CODES[self.lib.TF_TensorType(tensor)])
        data = ctypes.string_at(
            self.lib.TF_TensorData(tensor), int(np.prod(shape)) * dtype.itemsize
        )
        return np.frombuffer(data, dtype).reshape(shape)

    def run(self, inputs, outputs):
        tensors = (ctypes.c_void_p * len(inputs))(*(self.tensor(a).value for a in inputs.values()))
        found = (ctypes.c_void_p * len(outputs))()
        self.lib.TF_SessionRun(
            self.session,
            None,
            (Output * len(inputs))(*map(self.end, inputs)),
            tensors,
            len(inputs),
            (Output * len(outputs))(*map(self.end, outputs)),
            found,
            len(outputs),
            None,
            0,
            None,
            self.status,
        )
        self.check()
        return {
            name: self.array(ctypes.c_void_p(t)) for name, t in zip(outputs, found, strict=True)
        }


def main(path, cases, arrays, output):
    model, arrays, results = Model(path), np.load(arrays), {}
    for i, case in enumerate(json.loads(Path(cases).read_text())):
        inputs = {name: arrays[key] for name, key in case["inputs"].items()}
        try:
            found = model.run(inputs, case["outputs"])
        except RuntimeError as error:
            found = {"error": str(error)}
        results |= {f"{i}/{name}": value for name, value in found.items()}
    assert "tensorflow" not in sys.modules
    np.savez(output, **results)


def operations():
    """Names of all that TensorFlow's library can run without Python."""
    lib = library()
    buffer = ctypes.cast(lib.TF_GetAllOpList(), ctypes.POINTER(Buffer)).contents
    data = ctypes.string_at(buffer.data, buffer.length)
    names, at = [], 0
    while at < len(data):  # an OpList: fields of number 1, each an OpDef that starts with its name
        _, size, at = data[at], *varint(data, at + 1)
        length, start = varint(data, at + 1)
        names.append(data[start : start + length].decode())
        at += size
    return names


def varint(data, at):
    """A protobuf integer and where it ends."""
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if data[at - 1] < 0x80:
            return value, at


if __name__ == "__main__":
    if sys.argv[1:] == ["--operations"]:
        print(json.dumps(operations()))
    else:
        main(*sys.argv[1:])
