import cv2
import numpy as np
import pytest

from pipelines.drawing import colour_map, draw_boxes, montage
from pipelines.images import ImageError, as_bgr, read_image


def random_image(*shape):
    return np.random.RandomState(0).randint(0, 256, shape).astype(np.uint8)


def test_png_files_come_as_they_were_written(tmp_path):
    image = random_image(20, 30, 3)
    cv2.imwrite(str(tmp_path / "页.png"), image)
    np.testing.assert_array_equal(read_image(tmp_path / "页.png"), image)
    np.testing.assert_array_equal(read_image(str(tmp_path / "页.png")), image)


def test_grey_16_bit_and_transparent_files(tmp_path):
    grey = random_image(20, 30)
    cv2.imwrite(str(tmp_path / "grey.png"), grey)
    np.testing.assert_array_equal(read_image(tmp_path / "grey.png"), np.dstack([grey] * 3))

    deep = grey.astype(np.uint16) * 256 + 7
    cv2.imwrite(str(tmp_path / "deep.png"), deep)
    np.testing.assert_array_equal(read_image(tmp_path / "deep.png"), np.dstack([grey] * 3))

    clear = np.zeros((2, 2, 4), np.uint8)
    clear[0] = (10, 20, 30, 255)
    cv2.imwrite(str(tmp_path / "clear.png"), clear)
    read = read_image(tmp_path / "clear.png")
    assert read[0].tolist() == [[10, 20, 30]] * 2
    assert read[1].tolist() == [[255, 255, 255]] * 2

    cv2.imwrite(str(tmp_path / "both.png"), clear.astype(np.uint16) * 256 + clear // 2)
    np.testing.assert_array_equal(read_image(tmp_path / "both.png"), read)


def test_files_that_are_no_images(tmp_path):
    with pytest.raises(ImageError, match=r"none.png: cannot be read \(No such file"):
        read_image(tmp_path / "none.png")
    with pytest.raises(ImageError, match="cannot be read"):
        read_image(tmp_path)
    empty = tmp_path / "empty.png"
    empty.write_bytes(b"")
    with pytest.raises(ImageError, match=r"empty.png: the file is empty"):
        read_image(empty)
    text = tmp_path / "text.png"
    text.write_text("no image")
    with pytest.raises(ImageError, match=r"text.png: not an image .*8 bytes"):
        read_image(text)
    cut = tmp_path / "cut.png"
    cv2.imwrite(str(cut), random_image(20, 30, 3))
    cut.write_bytes(cut.read_bytes()[:40])
    with pytest.raises(ImageError, match=r"cut.png"):
        read_image(cut)


def test_arrays_of_every_channel_count():
    image = random_image(4, 5, 3)
    assert as_bgr(image) is image
    np.testing.assert_array_equal(as_bgr(image[..., 0]), np.dstack([image[..., 0]] * 3))
    np.testing.assert_array_equal(as_bgr(image[..., :1]), np.dstack([image[..., 0]] * 3))
    half = np.zeros((1, 1, 4), np.uint8)
    half[0, 0] = (0, 100, 255, 51)  # a fifth: 204, 204 + 20, 204 + 51
    assert as_bgr(half)[0, 0].tolist() == [204, 224, 255]


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((4, 5, 2), np.uint8),
        ((4, 5, 5), np.uint8),
        ((4, 5, 3), np.float32),
        ((1, 4, 5, 3), np.uint8),
        ((5,), np.uint8),
        ((0, 5, 3), np.uint8),
        ((4, 0), np.uint8),
    ],
)
def test_arrays_that_are_no_images(shape, dtype):
    with pytest.raises(ImageError, match=r"but this is \("):
        as_bgr(np.zeros(shape, dtype))


def test_boxes_are_drawn_on_a_copy():
    page = np.full((60, 80, 3), 255, np.uint8)
    box = np.array([[10, 10], [50, 10], [50, 40], [10, 40]], np.float32)
    drawn = draw_boxes(page, [box], (0, 0, 255), 1)
    assert (page == 255).all()
    np.testing.assert_allclose(drawn[10, 30], [0, 0, 255], atol=40)  # edges are smooth
    assert drawn[25, 30].tolist() == [255, 255, 255]
    np.testing.assert_array_equal(draw_boxes(page, [], (0, 0, 0)), page)


def test_hot_is_bright():
    colours = colour_map(np.array([[0, 0.5, 1, 7, -7]], np.float32)).astype(int).sum(2)[0]
    assert colours[0] < colours[1] < colours[2]
    assert colours[3] == colours[2]
    assert colours[4] == colours[0]


def test_a_montage_has_one_height():
    panels = [
        ("a", np.zeros((50, 100, 3), np.uint8)),
        ("b", np.zeros((400, 200, 3), np.uint8)),
        ("c", np.zeros((900, 1, 3), np.uint8)),
    ]
    picture = montage(panels, 200)
    assert picture.shape == (200 + 34 + 12, 400 + 100 + 1 + 6 * 12, 3)
    assert picture[60, 12:412].max() == 0  # the first picture
    assert picture[60, 436:536].max() == 0  # the second
    assert picture[60, 412:436].min() == 255  # white between the two
    assert (picture[:34, 12:40] < 128).any()  # the caption
