"""A block of text and reference audio in; its segments as LLM prompts, and the voice, out."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from typing import Any

from tritone.frontend.text.line import Pauses
from tritone.frontend.text.settings import text_settings
from tritone.serving.frontend_tensors import PreparedVoice, block_arrays, read_request
from tritone.serving.messages import inner_inputs, respond_once, response, tensor
from tritone.serving.parameters import parameters, served_model, watched
from tritone.synthesis.limits import Limits, check_text
from tritone.triton_models import FRONTEND
from tritone.voice import open_voice


class TritonPythonModel:
    @watched(FRONTEND)
    def initialize(self, args: Mapping[str, str]) -> None:
        pauses = {f"{kind}_pause": seconds for kind, seconds in asdict(Pauses()).items()}
        longest = Limits().max_text_characters
        values = parameters(args, threads=4, max_text_characters=longest, **pauses)
        model = served_model()
        limits = self._limits = Limits(max_text_characters=values["max_text_characters"])
        self._voice_kind = model.family.voice
        text = text_settings({kind: values[f"{kind}_pause"] for kind in asdict(Pauses())})
        self._frontend = model.family.load_frontend(model.folder, model.config, limits, text)
        self._frontend.warm_up()
        self._pool = ThreadPoolExecutor(values["threads"], thread_name_prefix="frontend")

    def execute(self, requests: list[Any]) -> None:
        for request in requests:
            sender = request.get_response_sender()
            self._pool.submit(respond_once, sender, FRONTEND, partial(self._answer, request))

    def _answer(self, request: Any) -> Any:
        inputs = inner_inputs(request)
        wanted = read_request(inputs)
        packed, made = inputs.array("prepared_voice"), None
        if packed is None:
            voice, cached = self._frontend.voice_of(wanted)
            made = PreparedVoice.of(voice, cached)
        else:
            transcript = inputs.text("transcript") or ""
            check_text("transcript", transcript, self._limits.max_reference_text_characters)
            voice = open_voice(self._voice_kind, packed.tobytes(), "prepared_voice", transcript)
        block = self._frontend.block(wanted, inputs.scalar("block", 0), voice)
        return response(*(tensor(name, array) for name, array in block_arrays(block, made)))

    def finalize(self) -> None:
        self._pool.shutdown(wait=True)
