"""Whether a server still answers gRPC streams.

One thread of Triton 2.51 serves all streams, and its handling of a stream that is cancelled while a
response leaves has a race (mended upstream in 2025): rarely the server crashes, or that thread
stands still while all models are well. Nobody but a client of its own notices the latter.
"""

import threading

EVERY_S = 5.0
ANSWER_S = 10.0
MISSES = 2  # in a row
_NO_MODEL = "tritone_probe"  # refused by the thread in question, before anything is done


class GrpcProbe:
    """Asks the server at `url` (host:port, without TLS) again and again, until `close`."""

    def __init__(self, url: str, *, every_s: float = EVERY_S, answer_s: float = ANSWER_S) -> None:
        import grpc  # here, as the doctor must run where it cannot be imported

        self._every_s, self._answer_s = every_s, answer_s
        self._channel = grpc.insecure_channel(url, [("grpc.use_local_subchannel_pool", 1)])
        self._over = threading.Event()
        self._missed = 0
        self._thread = threading.Thread(target=self._run, name="grpc probe", daemon=True)
        self._thread.start()

    @property
    def deaf(self) -> bool:
        """Whether no stream was answered lately."""
        return self._missed >= MISSES

    def close(self) -> None:
        self._over.set()
        self._channel.close()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(self._every_s):
            self._missed = 0 if self._answered() else self._missed + 1

    def _answered(self) -> bool:
        """A server that cannot be reached is not deaf: its end is seen elsewhere."""
        import grpc
        from tritonclient.grpc import service_pb2, service_pb2_grpc

        stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        request = service_pb2.ModelInferRequest(model_name=_NO_MODEL)
        try:
            for _ in stub.ModelStreamInfer(iter([request]), timeout=self._answer_s):
                pass
        except grpc.RpcError as error:
            return bool(error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED)
        except ValueError:  # the channel was closed meanwhile
            pass
        return True
