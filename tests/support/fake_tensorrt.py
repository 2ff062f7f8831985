"""A stand-in for the Python package tensorrt 10.10: the calls that Tritone makes, written down.

Its "plan" is the ONNX graph itself, which runs on ONNX Runtime through the addresses it is given.
Names and signatures are those of the package's bindings (tensorrt_cu12_bindings 10.10.0.31).
"""

import ctypes
import enum
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime

__version__ = "10.10.0.31"


class NetworkDefinitionCreationFlag(enum.IntEnum):
    EXPLICIT_BATCH = 0
    STRONGLY_TYPED = 1


class BuilderFlag(enum.IntEnum):
    FP16 = 0
    TF32 = 6
    BF16 = 17


class MemoryPoolType(enum.IntEnum):
    WORKSPACE = 0


class TensorIOMode(enum.IntEnum):
    NONE = 0
    INPUT = 1
    OUTPUT = 2


class DataType(enum.IntEnum):
    FLOAT = 0
    HALF = 1
    INT32 = 3
    BOOL = 4
    BF16 = 7
    INT64 = 8


_TYPES = {1: DataType.FLOAT, 10: DataType.HALF, 16: DataType.BF16, 9: DataType.BOOL}
_TYPES |= {6: DataType.INT32, 7: DataType.INT64}
_NUMPY = {
    DataType.FLOAT: np.float32,
    DataType.HALF: np.float16,
    DataType.BOOL: np.bool_,
    DataType.INT32: np.int32,
    DataType.INT64: np.int64,
}


class ILogger:
    class Severity(enum.IntEnum):
        INTERNAL_ERROR = 0
        ERROR = 1
        WARNING = 2
        INFO = 3
        VERBOSE = 4

    def log(self, severity: Any, msg: str) -> None:
        raise NotImplementedError


class Logger(ILogger):
    WARNING = ILogger.Severity.WARNING

    def __init__(self, min_severity: Any = None) -> None:
        self.min_severity = min_severity

    def log(self, severity: Any, msg: str) -> None:
        pass


class IProgressMonitor:
    pass


class OnnxParser:
    def __init__(self, network: Any, logger: ILogger) -> None:
        self._network = network
        self._errors: list[str] = []

    def parse(self, model: bytes) -> bool:
        parsed = onnx.load_from_string(model)
        unknown = {n.op_type for n in parsed.graph.node} & {"Loop", "Mod", "Range"}
        self._errors = [f"no importer for {name}" for name in sorted(unknown)]
        self._network.model = parsed
        return not self._errors

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> str:
        return self._errors[index]


class Profile:
    def __init__(self) -> None:
        self.shapes: dict[str, Any] = {}

    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:
        self.shapes[input] = (tuple(min), tuple(opt), tuple(max))


class TimingCache:
    def __init__(self, data: bytes) -> None:
        self.data = data

    def serialize(self) -> bytes:
        return self.data + b"+"


class BuilderConfig:
    def __init__(self) -> None:
        self.flags = {BuilderFlag.TF32}
        self.pools: dict[Any, int] = {}
        self.profiles: list[Profile] = []
        self.progress_monitor: Any = None

    def clear_flag(self, flag: BuilderFlag) -> None:
        self.flags.discard(flag)

    def set_memory_pool_limit(self, pool: MemoryPoolType, pool_size: int) -> None:
        self.pools[pool] = pool_size

    def add_optimization_profile(self, profile: Profile) -> int:
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def create_timing_cache(self, serialized_timing_cache: bytes) -> TimingCache:
        return TimingCache(serialized_timing_cache)

    def set_timing_cache(self, cache: TimingCache, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        self.cache = cache
        return True

    def get_timing_cache(self) -> TimingCache:
        return self.cache


built: list[SimpleNamespace] = []  # every build: network flags, configuration
break_next: list[str] = []  # messages with which the next build fails


class Builder:
    def __init__(self, logger: ILogger) -> None:
        self._logger = logger

    def create_network(self, flags: int = 0) -> Any:
        return SimpleNamespace(flags=flags, model=None)

    def create_builder_config(self) -> BuilderConfig:
        return BuilderConfig()

    def create_optimization_profile(self) -> Profile:
        return Profile()

    def build_serialized_network(self, network: Any, config: BuilderConfig) -> Any:
        monitor = config.progress_monitor
        monitor.phase_start("Building Engine", None, 2)
        monitor.phase_start("Timing", "Building Engine", 9)
        monitor.step_complete("Timing", 0)
        monitor.step_complete("Building Engine", 0)
        monitor.phase_finish("Building Engine")
        built.append(SimpleNamespace(flags=network.flags, model=network.model, config=config))
        if break_next:
            self._logger.log(ILogger.Severity.ERROR, break_next.pop())
            return None
        shapes = onnx.helper.make_attribute("profile", repr(config.profiles[0].shapes))
        network.model.graph.doc_string = shapes.s.decode()
        return memoryview(network.model.SerializeToString())


class Runtime:
    def __init__(self, logger: ILogger) -> None:
        pass

    def deserialize_cuda_engine(self, data: bytes) -> "Engine | None":
        try:
            return Engine(onnx.load_from_string(data))
        except Exception:
            return None


class Engine:
    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = model
        self._profile = eval(model.graph.doc_string)
        self._inputs = {v.name: v for v in model.graph.input}
        self._all = [*self._inputs.values(), *model.graph.output]

    @property
    def num_io_tensors(self) -> int:
        return len(self._all)

    def get_tensor_name(self, index: int) -> str:
        return str(self._all[index].name)

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.INPUT if name in self._inputs else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> DataType:
        value = next(v for v in self._all if v.name == name)
        return _TYPES[value.type.tensor_type.elem_type]

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[Any]:
        assert profile_index == 0
        return list(self._profile[name])

    def create_execution_context(self) -> "Context":
        return Context(self, self._model)


class Context:
    """Computes when outputs' shapes are asked for, and copies when it is executed."""

    def __init__(self, engine: Engine, model: onnx.ModelProto) -> None:
        self._engine = engine
        self._session = onnxruntime.InferenceSession(model.SerializeToString())
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}
        self._computed: dict[str, Any] = {}

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self._shapes[name] = shape
        return True

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._addresses[name] = memory
        return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        if name not in self._computed:
            given = {key: self._read(key, shape) for key, shape in self._shapes.items()}
            names = [output.name for output in self._session.get_outputs()]
            self._computed = dict(zip(names, self._session.run(names, given), strict=True))
        return tuple(self._computed[name].shape)

    def _read(self, name: str, shape: tuple[int, ...]) -> Any:
        kind = np.dtype(_NUMPY[self._engine.get_tensor_dtype(name)])
        size = int(np.prod(shape)) * kind.itemsize
        memory = (ctypes.c_char * size).from_address(self._addresses[name])
        return np.frombuffer(memory, kind).reshape(shape).copy()

    def execute_async_v3(self, stream_handle: int) -> bool:
        for name, value in self._computed.items():
            data = np.ascontiguousarray(value).tobytes()
            ctypes.memmove(self._addresses[name], data, len(data))
        self._computed = {}
        return True
