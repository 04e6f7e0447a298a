"""Run in a child process by the tests of the readers: saves with Paddle and runs its predictor.

    python paddle_child.py OUT_FOLDER PROGRAM...

Writes into OUT_FOLDER `net.json` (PIR) and `old.pdmodel` (ProgramDesc) with their weights, the same
network's `net2.pdparams` to `net4.pdparams` by pickle protocol, and `results.npz`: per program its
outputs as exported (`NAME/plain/0`) and after `with_outputs` (`NAME/changed/0`), which fetches a
value in the middle first.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import paddle
from paddle import nn

sys.path.insert(0, str(Path(__file__).parents[2]))

from converter.sources.ir import Program
from converter.sources.reader import read_program, with_outputs


class Net(nn.Layer):
    """One of each operation that takes parameters."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2D(3, 8, 3, stride=2, padding=1, bias_attr=False)
        self.norm = nn.BatchNorm2D(8)
        self.grouped = nn.Conv2D(8, 8, 3, padding=1, groups=2)
        self.depthwise = nn.Conv2D(8, 8, 3, padding=1, groups=8)
        self.up = nn.Conv2DTranspose(8, 6, 2, stride=2)
        self.layer_norm = nn.LayerNorm(6)
        self.linear = nn.Linear(6, 10)
        self.embedding = nn.Embedding(20, 10)
        self.lstm = nn.LSTM(10, 5, direction="bidirect")
        self.prelu = nn.PReLU(8)
        self.group_norm = nn.GroupNorm(2, 8)
        self.instance_norm = nn.InstanceNorm2D(8)
        self.offsets = nn.Conv2D(8, 18, 3, padding=1)
        self.deformable = paddle.vision.ops.DeformConv2D(8, 8, 3, padding=1)

    def forward(self, x, ids):
        x = nn.functional.hardswish(self.norm(self.conv(x)))
        x = self.instance_norm(self.group_norm(self.prelu(self.grouped(x))))
        x = self.deformable(x, self.offsets(x))
        x = nn.functional.leaky_relu(x, 0.3) + nn.functional.mish(x) + nn.functional.hardtanh(x)
        x = nn.functional.interpolate(nn.functional.max_pool2d(x, 2), scale_factor=2)
        x = nn.functional.interpolate(nn.functional.pad(x, [1, 0, 0, 1]), [8, 8], mode="bilinear")
        y = paddle.pow(paddle.stack([x, x]).mean([0]), 3.0)
        x = paddle.squeeze(paddle.unsqueeze(x, [2]), [2]) / y
        x = x * nn.functional.hardsigmoid(nn.functional.adaptive_avg_pool2d(x, 1), slope=0.2)
        x = paddle.concat([x[:, :4], self.depthwise(x)[:, 4:]], axis=1)
        x = self.up(x).flatten(2).transpose([0, 2, 1])
        x = self.linear(self.layer_norm(x))
        x = nn.functional.softmax(x + self.embedding(ids), axis=-1)
        first, second = paddle.split(self.lstm(x)[0], 2, axis=-1)
        return first - second, x


def save_pir(folder):
    paddle.seed(0)
    net = Net()
    net.eval()
    specs = [
        paddle.static.InputSpec([-1, 3, 16, 16], "float32", "x"),
        paddle.static.InputSpec([-1, 1], "int64", "ids"),
    ]
    paddle.jit.save(net, str(folder / "net"), input_spec=specs)
    for protocol in (2, 3, 4):
        paddle.save(net.state_dict(), str(folder / f"net{protocol}.pdparams"), protocol=protocol)
    np.savez(folder / "state.npz", **{k: v.numpy() for k, v in net.state_dict().items()})


def save_program_desc(folder):
    paddle.enable_static()
    with paddle.pir_utils.OldIrGuard():
        main, startup = paddle.static.Program(), paddle.static.Program()
        with paddle.static.program_guard(main, startup):
            x = paddle.static.data("x", [-1, 3, 16, 16], "float32")
            ids = paddle.static.data("ids", [-1, 1], "int64")
            net = Net()
            net.eval()
            outputs = list(net(x, ids))
        executor = paddle.static.Executor(paddle.CPUPlace())
        executor.run(startup)
        paddle.static.save_inference_model(
            str(folder / "old"), [x, ids], outputs, executor, program=main.clone(for_test=True)
        )
    paddle.disable_static()


def middle(program: Program) -> str:
    """Return the result of some layer in the middle."""
    kinds = ("conv2d", "depthwise_conv2d")
    results = [op.outputs[0] for op in program.operations if op.kind in kinds]
    return results[len(results) // 2]


def run(program_file, weights_file, program):
    import paddle.inference as inference

    config = inference.Config(str(program_file), str(weights_file))
    config.disable_gpu()
    config.disable_mkldnn()
    config.disable_glog_info()
    config.switch_ir_optim(False)
    predictor = inference.create_predictor(config)
    random = np.random.default_rng(0)
    for spec in program.inputs:
        shape = [
            2 if n == -1 and i == 0 else 64 if n == -1 else n for i, n in enumerate(spec.shape)
        ]
        value = random.uniform(0, 2, shape).astype(spec.dtype)
        predictor.get_input_handle(spec.name).copy_from_cpu(value)
    predictor.run()
    names = predictor.get_output_names()
    return [predictor.get_output_handle(name).copy_to_cpu() for name in names]


def compare(folder, program_file):
    program = read_program(program_file)
    weights = program_file.with_suffix(".pdiparams")
    changed = folder / f"changed{program_file.suffix}"
    changed.write_bytes(with_outputs(program, [middle(program), *program.outputs]))
    both = {"plain": program_file, "changed": changed}
    return {
        f"{kind}/{i}": value
        for kind, file in both.items()
        for i, value in enumerate(run(file, weights, program))
    }


def main() -> None:
    folder, *programs = map(Path, sys.argv[1:])
    save_pir(folder)
    save_program_desc(folder)
    results = {}
    for file in [folder / "net.json", folder / "old.pdmodel", *programs]:
        name = file.stem if file.parent == folder else file.parent.name
        results |= {f"{name}/{key}": value for key, value in compare(folder, file).items()}
    np.savez(folder / "results.npz", **results)


if __name__ == "__main__":
    main()
