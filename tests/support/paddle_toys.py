"""Run in a child process by `test_align.py`: builds the toys of `toys.py` in Paddle and runs them.

    python paddle_toys.py OUT_FOLDER MODEL_FOLDER...

Writes `NAME.json` (PIR) and `NAME.pdmodel` (ProgramDesc) with their weights, and what the predictor
makes of each in `results.npz`; and every released MODEL_FOLDER/inference.pdmodel once more, as a
PIR program: OUT_FOLDER/FOLDER_NAME/inference.json.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import paddle
from paddle import inference, nn
from paddle.base import libpaddle
from paddle.nn import functional as F


def product(x, y, transpose_y=False):
    """Multiply matrices; Paddle 3's own function no longer writes ProgramDesc."""
    if not isinstance(x, paddle.base.framework.Variable):
        return paddle.matmul(x, y, transpose_y=transpose_y)
    helper = paddle.base.layer_helper.LayerHelper("matmul_v2")
    output = helper.create_variable_for_type_inference(x.dtype)
    helper.append_op(
        type="matmul_v2",
        inputs={"X": x, "Y": y},
        outputs={"Out": output},
        attrs={"trans_x": False, "trans_y": transpose_y},
    )
    return output


class Affine(nn.Layer):
    def __init__(self):
        super().__init__()
        self.scale = self.create_parameter([1])
        self.shift = self.create_parameter([1])

    def forward(self, x):
        return self.scale * x + self.shift


class Convolutions(nn.Layer):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2D(3, 8, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2D(8)
        self.depthwise = nn.Conv2D(8, 8, 3, padding=1, groups=8, bias_attr=False)
        self.grouped = nn.Conv2D(8, 8, 1, groups=2, bias_attr=False)
        self.affine = Affine()
        self.up = nn.Conv2DTranspose(8, 6, 2, stride=2)

    def forward(self, x):
        x = F.hardswish(self.norm(self.first(x)))
        x = x + self.affine(self.grouped(self.depthwise(x)))
        return self.up(x)


class Attention(nn.Layer):
    def __init__(self):
        super().__init__()
        self.positions = self.create_parameter([1, 6, 12])
        self.norm = nn.LayerNorm(12, epsilon=1e-6)
        self.query = nn.Linear(12, 12)
        self.key = nn.Linear(12, 12)
        self.value = nn.Linear(12, 12)
        self.project = nn.Linear(12, 12, bias_attr=False)
        self.last = nn.Linear(12, 5)

    def forward(self, x):
        x = x + self.positions
        y = self.norm(x)
        q, k, v = self.query(y), self.key(y), self.value(y)
        y = product(F.softmax(product(q, k, transpose_y=True), -1), v)
        return self.last(x + self.project(y))


class Recurrent(nn.Layer):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(12, 5, num_layers=2, direction="bidirect")
        self.gru = nn.GRU(10, 4)
        self.last = nn.Linear(4, 3)

    def forward(self, x):
        return self.last(self.gru(self.lstm(x)[0])[0])


class Words(nn.Layer):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(20, 10)
        self.last = nn.Linear(10, 10)

    def forward(self, ids):
        return self.last(self.embedding(ids))


class Crnn(nn.Layer):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2D(3, 12, 3, stride=(2, 1), padding=1, bias_attr=False)
        self.norm = nn.BatchNorm2D(12)
        self.lstm = nn.LSTM(12, 7, num_layers=2, direction="bidirect")
        self.fc = nn.Linear(14, 9)

    def forward(self, x):
        x = F.relu(self.norm(self.conv(x))).mean(2)
        return F.softmax(self.fc(self.lstm(x.transpose([0, 2, 1]))[0]), -1)


class Branches(nn.Layer):
    def __init__(self, join):
        super().__init__()
        self.join = join
        self.left = nn.Conv2D(3, 4, 1)
        self.right = nn.Conv2D(3, 4, 1)
        self.last = nn.Conv2D(8 if join == "concat" else 4, 2, 1)

    def forward(self, x):
        left, right = F.relu(self.left(x)), F.hardswish(self.right(x))
        if self.join == "concat":
            return self.last(paddle.concat([left, right], 1))
        return self.last(left + right)


class Padded(nn.Layer):
    def __init__(self):
        super().__init__()
        self.halved = nn.Conv2D(3, 8, 3, stride=2, padding="SAME")
        self.even = nn.Conv2D(8, 4, 2, padding="SAME")
        self.odd = nn.Conv2D(4, 3, 5, padding="SAME", dilation=2)
        self.last = nn.Conv2D(3, 2, 3, padding="VALID")

    def forward(self, x):
        x = F.relu(self.even(F.relu(self.halved(x))))
        return self.last(F.relu(self.odd(x)))


IMAGE, SEQUENCE = ([-1, 3, 16, 16], "float32"), ([-1, 6, 12], "float32")
TOYS = {
    "convolutions": (Convolutions, (), IMAGE),
    "attention": (Attention, (), SEQUENCE),
    "recurrent": (Recurrent, (), SEQUENCE),
    "words": (Words, (), ([-1, 6], "int64")),
    "crnn": (Crnn, (), IMAGE),
    "concat": (Branches, ("concat",), IMAGE),
    "sum": (Branches, ("sum",), IMAGE),
    "padded": (Padded, (), IMAGE),
}


def value(place, shape):
    """Return values apart from all defaults, and positive, since some are variances."""
    random = np.random.default_rng(place)
    return (random.uniform(0.1, 1.0, shape) * random.choice([0.3, 0.6])).astype("float32")


def save_pir(folder, name):
    kind, arguments, (shape, dtype) = TOYS[name]
    net = kind(*arguments)
    net.eval()
    for place, tensor in enumerate(net.state_dict().values()):
        tensor.set_value(value(place, tensor.shape))
    spec = paddle.static.InputSpec(shape, dtype, "x")
    paddle.jit.save(net, str(folder / name), input_spec=[spec])
    (folder / f"{name}.pdiparams").rename(folder / f"{name}.pir.pdiparams")
    (folder / f"{name}.json").rename(folder / f"{name}.pir.json")


def save_program_desc(folder, name):
    kind, arguments, (shape, dtype) = TOYS[name]
    with paddle.pir_utils.OldIrGuard():
        main, startup = paddle.static.Program(), paddle.static.Program()
        with paddle.static.program_guard(main, startup):
            x = paddle.static.data("x", shape, dtype)
            net = kind(*arguments)
            net.eval()
            output = net(x)
        executor = paddle.static.Executor(paddle.CPUPlace())
        executor.run(startup)
        scope = paddle.static.global_scope()
        held = [v for v in main.list_vars() if v.persistable and scope.find_var(v.name)]
        for place, variable in enumerate(sorted(held, key=lambda v: v.name)):
            if variable.dtype == paddle.base.core.VarDesc.VarType.FP32:
                tensor = scope.find_var(variable.name).get_tensor()
                tensor.set(value(place, tensor.shape()), paddle.CPUPlace())
        paddle.static.save_inference_model(
            str(folder / name), [x], [output], executor, program=main.clone(for_test=True)
        )


def run(program, weights, shape, dtype):
    config = inference.Config(str(program), str(weights))
    config.disable_gpu()
    config.disable_mkldnn()
    config.disable_glog_info()
    config.switch_ir_optim(False)
    predictor = inference.create_predictor(config)
    (name,) = predictor.get_input_names()
    handle = predictor.get_input_handle(name)
    shape = [2, *shape[1:]]
    random = np.random.default_rng(0)
    batch = random.uniform(-1, 1, shape) if dtype == "float32" else random.integers(0, 20, shape)
    handle.copy_from_cpu(batch.astype(dtype))
    predictor.run()
    output = predictor.get_output_handle(predictor.get_output_names()[0]).copy_to_cpu()
    return batch.astype(dtype), output


def resave(model, folder):
    """Write a released ProgramDesc as Paddle 3 does."""
    folder.mkdir()
    executor = paddle.static.Executor(paddle.CPUPlace())
    with paddle.pir_utils.OldIrGuard():
        old, _, _ = paddle.static.load_inference_model(str(model / "inference"), executor)
    program = libpaddle.pir.translate_to_pir(old.desc)
    operations = program.global_block().ops
    fed = [op.result(0) for op in operations if op.name() == "pd_op.feed"]
    fetched = [op.operand_source(0) for op in operations if op.name() == "pd_op.fetch"]
    paddle.static.save_inference_model(
        str(folder / "inference"), fed, fetched, executor, program=program
    )


def main() -> None:
    folder, *models = map(Path, sys.argv[1:])
    for name in TOYS:
        save_pir(folder, name)
    paddle.enable_static()
    for name in TOYS:
        save_program_desc(folder, name)
    for model in models:
        resave(model, folder / model.name)
    results = {}
    for name, (_, _, spec) in TOYS.items():
        for program in (f"{name}.pdmodel", f"{name}.pir.json"):
            file = folder / program
            batch, output = run(file, file.with_suffix(".pdiparams"), *spec)
            results |= {f"{program}/input": batch, f"{program}/output": output}
    np.savez(folder / "results.npz", **results)
    sys.stdout.flush()
    os._exit(0)  # Paddle may hang in its own clean-up


if __name__ == "__main__":
    main()
