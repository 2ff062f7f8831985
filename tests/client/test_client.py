"""The client without a server: requests, responses, metrics, sound files, the command."""

import json
import struct

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2
from waiting import HANG_S

from tritone_client import Emotion, SpeechClient, SpeechError, StreamMeter, Utterance, pad_reference
from tritone_client.request import infer_request
from tritone_client.response import ResponseReader, emotions_of, public_model, rate_of
from tritone_client.say import summary


def tensors(request: service_pb2.ModelInferRequest) -> dict[str, tuple[str, list[int], bytes]]:
    return {
        tensor.name: (tensor.datatype, list(tensor.shape), contents)
        for tensor, contents in zip(request.inputs, request.raw_input_contents, strict=True)
    }


def message(waveform: np.ndarray | None = None, final: bool = False, timing: str | None = None):
    """A response as Triton streams it, with its batch dimension."""
    answer = service_pb2.ModelStreamInferResponse()
    response = answer.infer_response
    response.parameters["triton_final_response"].bool_param = final
    if waveform is not None:
        response.outputs.add(name="waveform", datatype="FP32", shape=[1, waveform.size])
        response.raw_output_contents.append(waveform.astype("<f4").tobytes())
    if timing is not None:
        response.outputs.add(name="timing", datatype="BYTES", shape=[1, 1])
        text = timing.encode()
        response.raw_output_contents.append(struct.pack("<I", len(text)) + text)
    return answer


class TestRequest:
    def test_text_alone_sends_one_input(self):
        """A server that knows fewer inputs must be able to serve a plain request."""
        request = infer_request(Utterance("你好"), "cosyvoice2", "id-1")
        contents = struct.pack("<I", 6) + "你好".encode()
        assert tensors(request) == {"target_text": ("BYTES", [1, 1], contents)}
        assert [output.name for output in request.outputs] == ["waveform"]
        assert (request.model_name, request.id) == ("cosyvoice2", "id-1")
        assert request.parameters["triton_enable_empty_final_response"].bool_param

    def test_every_input_has_its_type_and_batch_dimension(self):
        wav = np.linspace(-1, 1, 5, dtype=np.float32)
        utterance = Utterance(
            "a", wav, 24000, 4, "b", "c", "d", 2**64 - 1, 0.5, 0.9, 25, 1.5, streaming=False
        )
        sent = tensors(infer_request(utterance, "cosyvoice2", timing=True))
        text = {name: struct.pack("<I", 1) + name.encode() for name in "abcd"}
        assert sent == {
            "target_text": ("BYTES", [1, 1], text["a"]),
            "reference_wav": ("FP32", [1, 5], wav.tobytes()),
            "reference_wav_len": ("INT32", [1, 1], struct.pack("<i", 4)),
            "reference_sample_rate": ("INT32", [1, 1], struct.pack("<i", 24000)),
            "reference_text": ("BYTES", [1, 1], text["b"]),
            "instruct_text": ("BYTES", [1, 1], text["c"]),
            "voice": ("BYTES", [1, 1], text["d"]),
            "seed": ("UINT64", [1, 1], b"\xff" * 8),
            "temperature": ("FP32", [1, 1], struct.pack("<f", 0.5)),
            "top_p": ("FP32", [1, 1], struct.pack("<f", 0.9)),
            "top_k": ("INT32", [1, 1], struct.pack("<i", 25)),
            "speed": ("FP32", [1, 1], struct.pack("<f", 1.5)),
            "streaming": ("BOOL", [1, 1], b"\0"),
        }

    def test_an_emotion_is_what_was_given_of_it(self):
        wav = np.linspace(-1, 1, 5, dtype=np.float32)

        def sent(**emotion):
            every = tensors(infer_request(Utterance("a", emotion=Emotion(**emotion)), "indextts2"))
            return {name: tensor for name, tensor in every.items() if name != "target_text"}

        assert sent(vector=(0.5, 0), weight=0.25) == {
            "emotion_vector": ("FP32", [1, 2], struct.pack("<ff", 0.5, 0)),
            "emotion_weight": ("FP32", [1, 1], struct.pack("<f", 0.25)),
        }
        assert sent(wav=wav, rate=8000) == {
            "emotion_wav": ("FP32", [1, 5], wav.tobytes()),
            "emotion_sample_rate": ("INT32", [1, 1], struct.pack("<i", 8000)),
        }
        assert sent(wav=wav) == {"emotion_wav": ("FP32", [1, 5], wav.tobytes())}
        assert sent(text="b") == {"emotion_text": ("BYTES", [1, 1], struct.pack("<I", 1) + b"b")}

    @pytest.mark.parametrize(
        ("emotion", "said"),
        [
            ({"weight": 0.5}, "emotion: nothing given; give one of emotion_vector, emotion_wav"),
            ({"vector": [1], "text": "a"}, "emotion_vector and emotion_text given; give one"),
            ({"vector": []}, "emotion_vector: has 0 values"),
            ({"wav": np.zeros((2, 3), np.float32)}, r"emotion_wav: shape \(2, 3\)"),
        ],
    )
    def test_an_emotion_that_is_none_or_several_is_refused(self, emotion, said):
        with pytest.raises(ValueError, match=said):
            Emotion(**emotion)

    @pytest.mark.parametrize("samples, expected", [(15000, 16000), (16000, 16000), (16001, 32000)])
    def test_padding_keeps_the_true_length(self, samples, expected):
        utterance = pad_reference(Utterance("a", np.ones(samples, np.float32)), seconds=1.0)
        assert utterance.reference_wav.size == expected
        assert utterance.reference_length == samples
        assert not utterance.reference_wav[samples:].any()

    def test_what_does_not_fit_is_named(self):
        with pytest.raises(ValueError, match=r"reference_wav: shape \(2, 3\)"):
            Utterance("a", np.zeros((2, 3), np.float32))
        with pytest.raises(ValueError, match=r"reference_length: 4; it must be 1\.\.3"):
            Utterance("a", np.zeros(3, np.float32), reference_length=4)
        with pytest.raises(ValueError, match="seed: -1 does not fit UINT64"):
            infer_request(Utterance("a", seed=-1), "cosyvoice2")


class TestResponse:
    def test_packets_then_final(self):
        wave_in = np.array([0.0, 0.5, -0.5], np.float32)
        reader = ResponseReader()
        packet = reader.feed(message(wave_in, timing='{"llm": 1}'))
        np.testing.assert_array_equal(packet.samples, wave_in)
        assert packet.timing == {"llm": 1}
        assert reader.feed(message(final=True)) is None
        reader.end()

    def test_a_last_packet_may_carry_the_final_mark(self):
        reader = ResponseReader()
        assert reader.feed(message(np.ones(2, np.float32), final=True)).samples.size == 2
        reader.end()

    def test_an_incomplete_stream_is_an_error(self):
        reader = ResponseReader()
        reader.feed(message(np.ones(2, np.float32)))
        with pytest.raises(SpeechError, match="before the server said it was complete"):
            reader.end()

    @pytest.mark.parametrize("final", [True, False])
    def test_the_model_error_keeps_its_words(self, final):
        """Nothing follows it, also where Triton does not say so."""
        failed = message(final=final)
        failed.error_message = "speed: 9; it must be 0.5..2"
        reader = ResponseReader()
        assert not reader.over
        assert reader.feed(failed) is None
        assert reader.over
        with pytest.raises(SpeechError) as caught:
            reader.end()
        assert (caught.value.status, caught.value.message) == (
            "UNKNOWN",
            "speed: 9; it must be 0.5..2",
        )


def test_an_input_that_a_model_does_not_have_is_the_callers_mistake():
    """In Triton's own words, which have no status."""
    failed = message(final=True)
    said = "unexpected inference input 'emotion_text' for model 'cosyvoice2'"
    failed.error_message = f"[request id: <id_unknown>] {said}"
    reader = ResponseReader()
    reader.feed(failed)
    with pytest.raises(SpeechError) as caught:
        reader.end()
    assert caught.value.status == "INVALID_ARGUMENT"
    assert caught.value.message.startswith("emotion_text: is no input of cosyvoice2; ")


def configured(model: str = "", **parameters: str) -> service_pb2.ModelConfigResponse:
    answer = service_pb2.ModelConfigResponse()
    answer.config.name = model
    for name, text in parameters.items():
        answer.config.parameters[name].string_value = text
    return answer


class TestPublicModel:
    def test_the_rate_is_the_models_own(self):
        assert rate_of("indextts2", configured(sample_rate="22050", max_streams="16")) == 22050

    @pytest.mark.parametrize(
        ("parameters", "words"),
        [
            ({"max_streams": "16"}, "cosyvoice2 has no sample_rate among the parameters"),
            ({"sample_rate": "fast"}, "cosyvoice2 has sample_rate 'fast' among"),
            ({"sample_rate": "0"}, "cosyvoice2 has sample_rate '0' among"),
        ],
    )
    def test_a_model_that_does_not_say_is_an_error(self, parameters, words):
        with pytest.raises(SpeechError, match=words) as caught:
            rate_of("cosyvoice2", configured(**parameters))
        assert caught.value.status == "FAILED_PRECONDITION"

    def test_the_names_of_its_emotions(self):
        assert emotions_of(configured(emotions="happy, sad")) == ("happy", "sad")
        assert emotions_of(configured(sample_rate="1")) == ()

    def test_the_one_that_speaks_is_found(self):
        every = [configured("frontend"), configured("toy", sample_rate="12000"), configured("z")]
        assert public_model("here:1", every) == "toy"

    @pytest.mark.parametrize(
        ("ready", "status", "words"),
        [
            ([], "UNAVAILABLE", "no model of here:1 speaks; ready: none; name"),
            ([configured("a"), configured("b")], "UNAVAILABLE", "speaks; ready: a, b; name"),
            (
                [configured("a", sample_rate="1"), configured("b", sample_rate="2")],
                "FAILED_PRECONDITION",
                "here:1 has several models that speak: a, b; name the one that is meant",
            ),
        ],
    )
    def test_none_or_several_are_an_error(self, ready, status, words):
        with pytest.raises(SpeechError, match=words) as caught:
            public_model("here:1", ready)
        assert caught.value.status == status


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class TestMetrics:
    def meter(self, arrivals, rate=1000):
        """Metrics of packets given as (seconds after the request, samples); ends 0.1 s later."""
        clock = Clock()
        meter = StreamMeter(rate, clock)
        for at, samples in arrivals:
            clock.now = 100.0 + at
            meter.packet(np.asarray(samples, np.float32))
        clock.now += 0.1
        return meter.finish()

    def test_steady_stream(self):
        loud = np.full(100, 0.5)
        metrics = self.meter([(0.2, loud), (0.25, loud), (0.35, loud)])
        assert metrics.first_packet_s == pytest.approx(0.2)
        assert metrics.first_audible_s == pytest.approx(0.2)
        assert metrics.gaps_s == pytest.approx((0.05, 0.1))
        assert metrics.total_s == pytest.approx(0.45)
        assert metrics.audio_s == pytest.approx(0.3)
        assert metrics.rtf == pytest.approx(1.5)
        assert (metrics.packets, metrics.underruns, metrics.underrun_s) == (3, 0, 0.0)

    def test_a_late_packet_is_one_underrun(self):
        """0.1 s of audio bought at 0.2 s runs dry at 0.3 s; the next packet comes at 0.34 s."""
        loud = np.full(100, 0.5)
        metrics = self.meter([(0.2, loud), (0.34, loud), (0.43, loud)])
        assert metrics.underruns == 1
        assert metrics.underrun_s == pytest.approx(0.04)

    def test_audible_is_when_playback_gets_there(self):
        """Below -50 dBFS (0.00316) nothing is heard; a packet waits for the one before to play."""
        quiet, onset = np.full(100, 0.003), np.concatenate([np.zeros(20), np.full(80, 0.004)])
        metrics = self.meter([(0.2, quiet), (0.21, onset)])
        assert metrics.first_audible_s == pytest.approx(0.3 + 0.02)

    def test_nothing_came(self):
        metrics = self.meter([(0.2, [])])
        assert metrics.first_packet_s is metrics.first_audible_s is metrics.rtf is None
        assert metrics.packets == 0
        assert summary(metrics) == "no audio in 0.30 s"

    def test_plain_values(self):
        values = self.meter([(1 / 3, np.ones(10)), (0.5, np.ones(10))]).as_dict()
        assert json.loads(json.dumps(values)) == values
        assert values["first_packet_s"] == 0.3333
        assert values["gaps_s"] == [0.1667]


def test_grpc_errors_keep_status_and_words():
    """No server listens on port 1."""
    with SpeechClient("127.0.0.1:1") as client, pytest.raises(SpeechError) as caught:
        client.speak(Utterance("a"), timeout=HANG_S)
    assert caught.value.status == "UNAVAILABLE"
    assert isinstance(caught.value.__cause__, grpc.RpcError)
