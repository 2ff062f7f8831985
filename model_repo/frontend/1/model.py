"""A block of text and reference audio in; its segments as LLM prompts, and the voice, out."""

from concurrent.futures import ThreadPoolExecutor

from tritone.families import read_config
from tritone.families.cosyvoice2.frontend import Frontend
from tritone.serving.load_log import staged
from tritone.serving.parameters import model_directory, parameters
from tritone.serving.replies import respond_once
from tritone.serving.request import read_request
from tritone.serving.tensors import Inputs, response, tensor
from tritone.serving.text_block import block_arrays
from tritone.synthesis.limits import Limits

STAGE = "frontend"


class TritonPythonModel:
    @staged(STAGE)
    def initialize(self, args):
        values = parameters(args, threads=4, max_text_characters=Limits().max_text_characters)
        model_dir = model_directory(args)
        limits = Limits(max_text_characters=values["max_text_characters"])
        self._frontend = Frontend(model_dir, read_config(model_dir), limits)
        self._frontend.warm_up()
        self._pool = ThreadPoolExecutor(values["threads"], thread_name_prefix="frontend")

    def execute(self, requests):
        for request in requests:
            sender = request.get_response_sender()
            self._pool.submit(respond_once, sender, STAGE, lambda r=request: self._answer(r))

    def _answer(self, request):
        wanted = read_request(request)
        block, voice = self._frontend.prepare_block(wanted, Inputs(request).scalar("block") or 0)
        return response(*(tensor(name, array) for name, array in block_arrays(block, voice)))

    def finalize(self):
        self._pool.shutdown(wait=True)
