"""Tables by PaddleX's two pipelines, against PaddleX's own code: the same HTML and boxes."""

from __future__ import annotations

import html
from types import SimpleNamespace

import numpy as np
import pytest

from pipelines.table.cells import fit_cells, structure_of_cells
from pipelines.table.networks import distinct_cells
from pipelines.table.predictor import TableRecognizer
from pipelines.table.results import Texts
from pipelines.table.structure import TableStructure
from pipelines.table.turning import turned_place
from tests.oracle.paddleocr_source import load

FOLDER = "inference/pipelines/table_recognition"
SIZE = (400, 500)
"""Height and width of the page."""
PLACES = ([0, 0, 499, 399], [37.5, 21.25, 461.0, 377.75])


def their_module(name):
    """A module of PaddleX's table recognition with its real helpers."""
    module = load("paddlex", f"{FOLDER}/{name}.py")
    components = load(
        "paddlex", "inference/pipelines/components/common/convert_points_and_boxes.py"
    )
    layout = load("paddlex", "inference/pipelines/layout_parsing/utils.py")
    module.convert_points_to_boxes = components.convert_points_to_boxes
    module.get_sub_regions_ocr_res = layout.get_sub_regions_ocr_res
    module.SingleTableRecognitionResult = dict
    return module


def their_pipeline(version):
    name = {1: "pipeline", 2: "pipeline_v2"}[version]
    module = their_module(name)
    first = their_module("table_recognition_post_processing").get_table_recognition_res
    second = their_module("table_recognition_post_processing_v2").get_table_recognition_res
    module.get_neighbor_boxes_idx = lambda *_: []
    if version == 1:
        module.get_table_recognition_res = first
        return module._TableRecognitionPipeline.__new__(module._TableRecognitionPipeline)
    module.get_table_recognition_res_e2e = first
    module.get_table_recognition_res = second
    pipeline = module._TableRecognitionPipelineV2.__new__(module._TableRecognitionPipelineV2)
    pipeline.cells_split_ocr = True
    recognizer = SimpleNamespace(text_rec_model=lambda line: [{"rec_text": read(line)}])
    pipeline.general_ocr_pipeline = recognizer
    pipeline.table_cls_model = lambda _: [{"label_names": ["wired_table"], "scores": [1.0]}]
    return pipeline


class Scene:
    """A random table on a page: its structure, its cells as a detector finds them, and texts."""

    def __init__(self, seed, place, marks=True):
        random = np.random.RandomState(seed)
        self.page = random.randint(0, 256, (*SIZE, 3), np.uint8)
        self.place = np.array(place)
        left, top, right, bottom = map(int, place)
        self.crop = self.page[top:bottom, left:right] if left else self.page
        rows, columns = random.randint(1, 6), random.randint(1, 5)
        self.tokens, structure_boxes, cells = ["<tbody>"], [], []
        width, height = 400 // columns, 300 // rows
        for row in range(rows):
            self.tokens.append("<tr>")
            for column in range(columns):
                x0, y0, x1, y1 = np.multiply(
                    [column, row, column + 1, row + 1], [width, height, width, height]
                ).tolist()
                if random.uniform() < 0.9:
                    wide = random.uniform() < 0.15
                    self.tokens += (
                        ["<td", ' colspan="2"', ' rowspan="3"', ">", "</td>"]
                        if wide
                        else ["<td></td>"]
                    )
                    structure_boxes.append([x0, y0, x1, y0, x1, y1, x0, y1])
                if random.uniform() < 0.9:
                    cells.append(np.array([x0, y0, x1, y1]) + random.uniform(-3, 3, 4))
                if random.uniform() < 0.15:  # a double, and one in between
                    cells.append(np.array([x0, y0, x1, y1]) + random.uniform(-9, 9, 4))
            self.tokens.append("</tr>")
        self.tokens.append("</tbody>")
        self.structure_boxes = np.array(structure_boxes, int).reshape(-1, 8)
        self.cells = np.array(cells, np.float32).reshape(-1, 4).clip(1, 396)
        self.scores = random.uniform(0.3, 1, len(self.cells))
        count = random.randint(1, 14)
        tallest = random.choice([30, 250])  # tall ones cover cells
        corners = random.randint(0, (420, 330), (count, 2))
        sides = np.stack([random.randint(4, 350, count), random.randint(4, tallest, count)], 1)
        boxes = np.concatenate([corners, corners + sides], 1)
        self.texts = Texts(boxes, [f"t{n}" + " " * (n % 3 == 0) for n in range(count)])
        if marks:
            self.texts.texts[0] = "<b>bold</b>"

    @property
    def overall(self):
        boxes = self.texts.boxes
        return {
            "rec_boxes": boxes,
            "rec_polys": boxes,
            "rec_texts": list(self.texts.texts),
            "rec_scores": [1.0] * len(boxes),
            "doc_preprocessor_res": {"output_img": self.page},
        }

    @property
    def framed(self):
        frame = ["<html>", "<body>", "<table>"], ["</table>", "</body>", "</html>"]
        return [*frame[0], *self.tokens, *frame[1]]

    def give_to(self, pipeline):
        """Let the networks of PaddleX's second pipeline return what the scene holds."""
        structure = {"bbox": self.structure_boxes.tolist(), "structure": self.framed}
        found = zip(self.cells, self.scores, strict=True)
        cells = [{"score": float(score), "coordinate": list(box)} for box, score in found]
        pipeline.wired_table_rec_model = lambda _: [structure]
        pipeline.wired_table_cells_detection_model = lambda *_, **__: [{"boxes": cells}]

    def recognizer(self, *, structure=True, cells=True, sort_lines=False):
        """Ours, with networks that return what the scene holds."""
        ours = TableRecognizer.__new__(TableRecognizer)
        tokens = tuple(self.tokens)

        def find(_, *, whole_pixels=False):  # noqa: ARG001
            return TableStructure(tokens, self.structure_boxes, 1.0)

        find.is_master = False
        networks = SimpleNamespace(
            structure=find if structure else None,
            cells=(lambda _: distinct_cells(self.cells, self.scores)) if cells else None,
        )
        ours._networks = {None: networks}
        ours._ocr = SimpleNamespace(recognizer=lambda lines: [SimpleNamespace(text=read(lines[0]))])
        ours._classifier = ours._orientation = None
        ours._sort_lines, ours._rules = sort_lines, "paddlex"
        return ours


def read(line):
    """The text in an image: something that depends on its pixels and its size."""
    return f"{line.shape[1]}x{line.shape[0]}:{int(line[0, 0, 0])}"


def unescaped(table):
    return html.unescape(table.html)


def boxes_of(table):
    return [
        (cell.box[[0, 2]].ravel().tolist() if cell.box is not None else None)
        for cell in table.cells
    ]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("sort_lines", [False, True])
def test_first_pipeline(place, sort_lines):
    theirs = their_pipeline(1)
    with_texts = 0
    for seed in range(60):
        scene = Scene(seed, place)
        bbox = scene.structure_boxes.tolist()
        theirs.table_structure_model = lambda _, b=bbox, s=scene: [
            {"bbox": b, "structure": s.framed}
        ]
        expected = theirs.predict_single_table_recognition_res(
            scene.crop, scene.overall, place, cell_sort_by_y_projection=sort_lines
        )
        ours = scene.recognizer(cells=False, sort_lines=sort_lines)
        table = ours._upright(scene.page, scene.crop, scene.place, scene.texts)
        if not (len(bbox) and len(expected["table_ocr_pred"]["rec_boxes"])):
            assert unescaped(table).replace(" ", "") == expected["pred_html"].replace(" ", "")
            continue
        with_texts += 1
        assert unescaped(table) == expected["pred_html"]
        assert np.array_equal(boxes_of(table), np.float32(expected["cell_box_list"]))
    assert with_texts > 40


@pytest.mark.parametrize("structure", [True, False])
def test_second_pipeline(structure):
    theirs = their_pipeline(2)
    split = with_texts = 0
    for seed in range(120):
        scene = Scene(seed, PLACES[0])
        scene.give_to(theirs)
        if not len(scene.cells) or not len(scene.structure_boxes):
            continue  # PaddleX fails there
        expected = theirs.predict_single_table_recognition_res(
            scene.crop,
            scene.overall,
            PLACES[0],
            use_wired_table_cells_trans_to_html=not structure,
            flag_find_nei_text=False,
        )
        ours = scene.recognizer(structure=structure)
        table = ours._upright(scene.page, scene.crop, scene.place, scene.texts)
        if not len(expected["table_ocr_pred"]["rec_boxes"]):
            continue
        with_texts += 1
        split += ":" in expected["pred_html"]
        if structure:
            assert unescaped(table) == expected["pred_html"]
        else:
            assert unescaped(table) == f"<html><body>{expected['pred_html']}</body></html>"
        # The cells of the table have the boxes of PaddleX's list, in its order.
        boxes = [box for box in boxes_of(table) if box]
        their_boxes = np.float32(expected["cell_box_list"]).tolist()
        assert boxes == [box for box in their_boxes if box in boxes]
    assert with_texts > 80
    assert split > 5


def test_second_pipeline_away_from_the_corner():
    """As PaddleX would do if the table were the page: it compares boxes of both there."""
    theirs = their_pipeline(2)
    place = [40, 30, 480, 390]
    compared = 0
    for seed in range(40):
        scene = Scene(seed, place)
        if not len(scene.cells) or not len(scene.structure_boxes):
            continue
        scene.give_to(theirs)
        moved = scene.overall | {"doc_preprocessor_res": {"output_img": scene.crop}}
        scene.texts = scene.texts.shift(40, 30)
        expected = theirs.predict_single_table_recognition_res(
            scene.page[30:, 40:], moved, [0, 0, 440, 360], flag_find_nei_text=False
        )
        table = scene.recognizer()._upright(scene.page, scene.crop, scene.place, scene.texts)
        if len(expected["table_ocr_pred"]["rec_boxes"]):
            compared += 1
            assert unescaped(table) == expected["pred_html"]
    assert compared > 20


def test_number_of_cells():
    """As many cells as the structure has: of the best, and of texts that lie in none."""
    theirs = their_pipeline(2)
    random = np.random.RandomState(0)
    merged = 0
    for _ in range(150):
        cells = random.uniform(0, 300, (random.randint(1, 12), 2))
        cells = np.concatenate([cells, cells + random.uniform(10, 90, cells.shape)], 1)
        scores = random.uniform(size=len(cells))
        texts = random.randint(0, 300, (random.randint(1, 14), 2))
        texts = np.concatenate([texts, texts + random.randint(5, 70, texts.shape)], 1).astype(float)
        expected = random.randint(1, 14)
        judged = theirs.cells_det_results_reprocessing(
            cells.tolist(), scores.tolist(), texts.tolist(), expected
        )
        merged += len(judged) != len(cells)
        found = fit_cells(cells, scores, texts, expected)
        assert np.array_equal(found, np.array(judged).reshape(-1, 4))
    assert merged > 50


def test_doubles():
    theirs = their_pipeline(2)
    random = np.random.RandomState(0)
    for _ in range(50):
        corners = random.uniform(0, 60, (random.randint(1, 20), 2))
        cells = np.concatenate([corners, corners + random.uniform(5, 60, corners.shape)], 1)
        cells = cells.astype(random.choice([np.float32, np.float64]))
        scores = random.uniform(size=len(cells)).round(1)  # some are equal
        boxes, kept = theirs.cells_det_results_nms(list(cells), scores.tolist())
        found, of_found = distinct_cells(cells, scores)
        assert found.tolist() == boxes
        assert of_found.tolist() == kept
        assert len(found) <= len(cells)


def test_structure_of_cells():
    theirs = their_pipeline(2)
    random = np.random.RandomState(0)
    spans = 0
    for _ in range(100):
        grid = [np.cumsum(random.randint(12, 60, random.randint(2, 6))) for _ in range(2)]
        cells = []
        for _ in range(random.randint(1, 14)):
            x, y = (np.sort(random.choice(line, 2, replace=False)) for line in grid)
            cells.append(np.array([x[0], y[0], x[1], y[1]]) + random.uniform(-2, 2, 4))
        tokens = theirs.trans_cells_det_results_to_html([list(map(float, cell)) for cell in cells])
        found = structure_of_cells(np.array(cells))
        assert f"<table>{''.join(found)}</table>" == "".join(tokens)
        spans += "span" in "".join(tokens)
    assert spans > 50
    assert structure_of_cells(np.zeros((0, 4))) == ()


@pytest.mark.parametrize("angle", [90, 180, 270])
def test_turned_places(angle):
    """PaddleX maps the cells of a turned table back; there and back is where it was."""
    theirs = their_pipeline(2)
    place = np.array([11, 22, 133, 244])
    height, width = SIZE
    turned = turned_place(place, angle, SIZE)
    size = (height, width) if angle == 180 else (width, height)
    (back,) = theirs.map_cells_to_original_image([turned], str(angle), size[1], size[0])
    assert back.tolist() == place.tolist()
    page = np.zeros(SIZE)
    page[22:244, 11:133] = 1
    left, top, right, bottom = turned
    assert np.rot90(page, angle // 90)[top:bottom, left:right].all()
