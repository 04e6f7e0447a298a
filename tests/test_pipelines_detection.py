import cv2
import numpy as np
import pytest

from pipelines.detection import DBDecoder, Detector, network_input, network_size


@pytest.mark.parametrize(
    ("height", "width", "limit", "limit_type", "expected"),
    [
        (960, 960, 960, "max", (960, 960)),
        (961, 961, 960, "max", (960, 960)),
        (1200, 900, 960, "max", (960, 704)),  # 720 is 22.5 strides: halves go to the even 22
        (900, 1200, 960, "max", (704, 960)),
        (80, 112, 960, "max", (64, 128)),  # 2.5 and 3.5 strides: down and up
        (47, 49, 960, "max", (32, 64)),
        (1, 1, 960, "max", (32, 32)),
        (1, 5000, 960, "max", (32, 960)),
        (5000, 1, 960, "max", (960, 32)),
        (500, 700, 320, "max", (224, 320)),
        (1080, 1920, 736, "min", (1088, 1920)),
        (368, 500, 736, "min", (736, 992)),
        (500, 368, 736, "min", (992, 736)),
        (1, 1, 736, "min", (736, 736)),
        (10, 20, 736, "min", (736, 1472)),
    ],
)
def test_network_size(height, width, limit, limit_type, expected):
    assert network_size(height, width, limit, limit_type) == expected


def test_normalisation_by_hand():
    image = np.zeros((64, 64, 3), np.uint8)
    image[:] = (255, 0, 51)
    batch = network_input(image)
    assert batch.shape == (1, 3, 64, 64)
    assert batch.dtype == np.float32
    assert batch.flags.c_contiguous
    # (1 - 0.485) / 0.229, (0 - 0.456) / 0.224, (0.2 - 0.406) / 0.225
    expected = np.array([2.24890830, -2.03571429, -0.91555556])
    np.testing.assert_allclose(batch[0, :, 10, 20], expected, rtol=1e-6)
    assert (batch == batch[:, :, :1, :1]).all()


def test_small_images_are_padded_with_black_not_stretched():
    white = np.full((16, 24, 3), 255, np.uint8)
    batch = network_input(white)
    assert batch.shape == (1, 3, 32, 32)
    text = batch[0, 0] > 0
    assert text[:16, :24].all()
    assert text.sum() == 16 * 24


def test_larger_images_are_stretched():
    white = np.full((16, 64, 3), 255, np.uint8)
    assert (network_input(white) > 0).all()


def heat_with(*rectangles, size=(320, 480), value=0.9):
    """A map with filled boxes, each ((centre x, y), (width, height), degrees)."""
    heat = np.zeros(size, np.float32)
    for rectangle in rectangles:
        cv2.fillPoly(heat, [np.round(cv2.boxPoints(rectangle)).astype(np.int32)], value)
    return heat


def upright(left, top, right, bottom):
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float32)


def grown(width, height, ratio=1.5):
    return width * height * ratio / (2 * (width + height))


def test_two_rectangles_grow_by_area_over_perimeter():
    heat = np.zeros((320, 480), np.float32)
    heat[40:61, 50:251] = 0.9  # corners 50, 40 and 250, 60
    heat[200:231, 100:201] = 0.7
    boxes = DBDecoder()(heat, 320, 480)
    assert boxes.shape == (2, 4, 2)
    assert boxes.dtype == np.float32
    low, high = sorted(boxes, key=lambda box: box[0, 1])
    d = grown(200, 20)
    np.testing.assert_allclose(low, upright(50 - d, 40 - d, 250 + d, 60 + d), atol=1)
    d = grown(100, 30)
    np.testing.assert_allclose(high, upright(100 - d, 200 - d, 200 + d, 230 + d), atol=1)


def test_boxes_are_scaled_to_the_image_and_whole():
    heat = heat_with(((240, 160), (200, 30), 0))
    same = DBDecoder()(heat, 320, 480)[0]
    larger = DBDecoder()(heat, 800, 1100)[0]
    np.testing.assert_allclose(larger, same * [1100 / 480, 800 / 320], atol=2)
    assert (larger == larger.round()).all()


@pytest.mark.parametrize("degrees", [-40, -20, -5, 5, 20, 40])
def test_rotated_rectangle(degrees):
    rectangle = ((240, 160), (200, 24), degrees)
    (box,) = DBDecoder()(heat_with(rectangle), 320, 480)
    d = 2 * grown(200, 24)
    corners = cv2.boxPoints(((240, 160), (200 + d, 24 + d), degrees))
    nearest = np.linalg.norm(box[:, None] - corners, axis=2).min(1)
    assert nearest.max() < 4  # the drawn mask is jagged
    assert np.cross(np.append(box[1] - box[0], 0), np.append(box[3] - box[0], 0))[2] > 0
    assert np.linalg.norm(box[1] - box[0]) > np.linalg.norm(box[3] - box[0])
    assert (box[1] - box[0])[0] > 0  # it starts at the top left


def test_nothing_and_faint_noise_give_no_boxes():
    assert DBDecoder()(np.zeros((64, 96), np.float32), 64, 96).shape == (0, 4, 2)
    noise = np.random.RandomState(0).uniform(0, 0.29, (64, 96)).astype(np.float32)
    assert len(DBDecoder()(noise, 64, 96)) == 0


def test_isolated_specks_give_no_boxes():
    heat = np.zeros((320, 480), np.float32)
    heat[::8, ::8] = 1
    assert len(DBDecoder()(heat, 320, 480)) == 0


@pytest.mark.parametrize(("value", "found"), [(0.29, 0), (0.31, 0), (0.59, 0), (0.61, 1), (1.0, 1)])
def test_both_thresholds(value, found):
    heat = heat_with(((240, 160), (200, 30), 0), value=value)
    assert len(DBDecoder()(heat, 320, 480)) == found
    assert len(DBDecoder(box_threshold=0.3)(heat, 320, 480)) == (value > 0.3)


def test_the_mean_counts_the_rectangle_not_the_region():
    # An L shape: its pixels are certain, but its rectangle is mostly empty.
    heat = np.zeros((320, 480), np.float32)
    heat[50:250, 50:62] = 1
    heat[238:250, 50:250] = 1
    assert len(DBDecoder()(heat, 320, 480)) == 0
    assert len(DBDecoder(box_threshold=0.05)(heat, 320, 480)) == 1


@pytest.mark.parametrize(("rows", "found"), [(2, 0), (3, 0), (4, 1)])
def test_smallest_side(rows, found):
    # n rows of pixels are n - 1 high from centre to centre, and 3 is the least.
    heat = np.zeros((320, 480), np.float32)
    heat[100 : 100 + rows, 50:250] = 1
    assert len(DBDecoder()(heat, 320, 480)) == found
    assert len(DBDecoder(unclip_ratio=4)(heat, 320, 480)) == found


def test_smallest_side_in_the_image():
    heat = heat_with(((240, 160), (200, 10), 0))
    assert len(DBDecoder()(heat, 320, 480)) == 1
    assert len(DBDecoder()(heat, 32, 480)) == 0


def test_boxes_stay_inside_the_image():
    heat = np.zeros((320, 480), np.float32)
    heat[0:20, 0:480] = 1
    (box,) = DBDecoder()(heat, 320, 480)
    assert box.min() == 0
    assert box[:, 0].max() == 479


def test_at_most_so_many_candidates():
    heat = heat_with(*[((240, 20 + 40 * n), (300, 10), 0) for n in range(8)])
    assert len(DBDecoder()(heat, 320, 480)) == 8
    assert len(DBDecoder(max_candidates=3)(heat, 320, 480)) == 3


def test_unclip_ratio():
    heat = heat_with(((240, 160), (200, 30), 0))
    tight = DBDecoder(unclip_ratio=0.5)(heat, 320, 480)[0]
    wide = DBDecoder(unclip_ratio=2.0)(heat, 320, 480)[0]
    assert tight[0, 1] - wide[0, 1] == pytest.approx(grown(200, 30, 1.5), abs=1)


def test_detector_maps_the_image_to_boxes_of_the_image():
    page = np.full((1200, 900, 3), 255, np.uint8)
    page[300:331, 100:701] = 0

    def dark(batch):
        return (batch.mean(1, keepdims=True) < 0).astype(np.float32)

    detector = Detector(dark)
    assert detector.heat_map(page).shape == (960, 704)
    (box,) = detector(page)
    d = grown(600, 30)
    np.testing.assert_allclose(box, upright(100 - d, 300 - d, 700 + d, 330 + d), atol=3)


@pytest.mark.parametrize("shape", [(1, 2, 64, 64), (1, 1, 32, 64), (1, 1, 64), (1, 10)])
def test_a_network_that_gives_no_map(shape):
    detector = Detector(lambda _: np.zeros(shape, np.float32))
    with pytest.raises(ValueError, match=r"expected \(1, 1, 64, 64\).*DB"):
        detector(np.zeros((64, 64, 3), np.uint8))
