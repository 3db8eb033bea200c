"""Images of one's own: right ones become what they are, others are told by name, all at once."""

import dataclasses
import io
import json
import os
import re
import struct
import zipfile

import numpy as np
import pytest
from PIL import Image

from sensigap import config, datasets
from sensigap.datasets import own
from sensigap.datasets.known import KNOWN, store_name
from sensigap.datasets.pictures import Preparation

#: height and width of most pictures here
HEIGHT, WIDTH = 6, 5
PARTS, CLASSES = ("train", "test"), ("cat", "dog")


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """Everything lies in a folder of the test's own, with Snakemake's in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".snakemake").mkdir()
    own.facts.cache_clear()
    yield tmp_path
    own.facts.cache_clear()


# --- builders -------------------------------------------------------------------------------------


def pixels(seed, shape=(HEIGHT, WIDTH)):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def colours(seed, height=HEIGHT, width=WIDTH):
    return pixels(seed, (height, width, 3))


def put(path, image, **options):
    """A picture file, by its ending, of an array or a Pillow image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    image.save(path, **options)


def split_folder(root, make=pixels, ending="png", count=3):
    """Train and test with cat and dog in each; the images as `read` should give them."""
    made = {}
    for p, part in enumerate(PARTS):
        arrays = []
        for c, name in enumerate(CLASSES):
            for k in range(count):
                arrays.append(make(100 * p + 10 * c + k))
                put(root / part / name / f"{k}.{ending}", arrays[-1])
        made[part] = np.stack(arrays)
    return made["train"], made["test"]


def class_folders(root, count=8, classes=CLASSES):
    """A folder a class, no split."""
    for c, name in enumerate(classes):
        for k in range(count):
            put(root / name / f"{k:02}.png", pixels(100 * c + k))


def arrays(path="mine.npz", without=(), **changes):
    """An .npz file with the split, with some arrays replaced or left out."""
    labels = np.array([0, 1, 0, 1, 0, 1])
    kept = {
        "train_images": pixels(1, (6, HEIGHT, WIDTH)),
        "train_labels": labels,
        "test_images": pixels(2, (4, HEIGHT, WIDTH)),
        "test_labels": labels[:4],
        **changes,
    }
    np.savez(path, **{name: array for name, array in kept.items() if name not in without})


def unsplit(path="mine.npz", count=12, **changes):
    kept = {
        "images": pixels(3, (count, HEIGHT, WIDTH)),
        "labels": np.arange(count) % 3,
        **changes,
    }
    np.savez(path, **kept)


def study(settings, name="mine", **sections):
    return {
        "study": "own",
        "datasets": {name: settings},
        "defaults": {"batch_size": 2},
        "survey": [{"search": "grid", "axes": {"width": [8, 16]}}],
        "measures": {"ellipses": {"share": 0}},
        **sections,
    }


def faults_of(mapping):
    """Path -> text of every fault; each place once, each in one line, none a traceback."""
    with pytest.raises(config.ConfigError) as error:
        config.load(mapping)
    faults = {}
    for fault in error.value.faults:
        text = str(fault)
        path = text.partition(": ")[0]
        assert path not in faults, "a place is told to be at fault twice"
        assert text.isprintable(), text
        assert "Traceback" not in text
        assert len(text) < 2_000, "a fault is a line, not a page"
        assert re.search(r"allowed: \S", text), "a fault says what is expected"
        faults[path] = text
    assert len(str(error.value).splitlines()) == len(faults) + 2
    return faults


def read(**settings):
    """The images of the folder or file, by the library's own way to them."""
    source = own.Source("mine", **settings)
    return own.read(source)[0]


def facts(**settings):
    return own.facts(own.Source("mine", **settings))


def again(**settings):
    """Facts as another process finds them."""
    own.facts.cache_clear()
    return facts(**settings)


# --- bad folders ----------------------------------------------------------------------------------


def changed(change):
    """A bad folder: a right one with train and test, and a change of it."""

    def build(root):
        split_folder(root)
        change(root)
        return {}

    return build


def a_file(name, data):
    """A bad folder: a file of these bytes beside the right ones."""
    return changed(lambda root: (root / name).write_bytes(data))


def a_picture(name, image, **options):
    return changed(lambda root: put(root / name, image, **options))


def encoded(image, kind, **options):
    memory = io.BytesIO()
    Image.fromarray(image).save(memory, kind, **options)
    return memory.getvalue()


def png_of_16_bits(kind):
    """A PNG by hand, since Pillow writes no colours of 16 bits. kind: 0 grey, 2 RGB."""
    import zlib

    def chunk(name, data):
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    channels = 3 if kind == 2 else 1
    rows = pixels(7, (HEIGHT, 2 * channels * WIDTH))
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    head = struct.pack(">2I5B", WIDTH, HEIGHT, 16, kind, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(raw))
        + chunk(b"IEND", b"")
    )


def jpeg2000_of_16_bits():
    """Its head says 16 bits for each of three channels."""
    data = bytearray(encoded(colours(7, 32, 32), "JPEG2000"))
    start = data.find(b"\xff\x4f\xff\x51") + 42
    data[start], data[start + 3], data[start + 6] = 15, 15, 15
    return bytes(data)


def tiff_of_16_bits():
    """A TIFF by hand: RGB, 16 bits a channel, in one strip."""
    data = pixels(8, (HEIGHT, WIDTH, 6)).tobytes()
    tags = [
        (256, 3, 1, WIDTH),
        (257, 3, 1, HEIGHT),
        (258, 3, 3, 134),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, 1, 140),
        (277, 3, 1, 3),
        (278, 3, 1, HEIGHT),
        (279, 4, 1, len(data)),
        (284, 3, 1, 1),
    ]
    body = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + body + b"\0\0\0\0"
    return head.ljust(134, b"\0") + struct.pack("<3H", 16, 16, 16) + data


def transparent_palette():
    image = Image.fromarray(colours(9)).quantize(8)
    image.info["transparency"] = int(np.asarray(image)[0, 0])
    return image


def with_alpha(alpha):
    return np.dstack([colours(9), np.full((HEIGHT, WIDTH), alpha, np.uint8)])


def animated(root):
    frames = [Image.fromarray(pixels(k)) for k in range(3)]
    frames[0].save(root / "train/cat/moves.gif", save_all=True, append_images=frames[1:])


def remove(folder):
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()


def emptied(root):
    for file in (root / "test/dog").iterdir():
        file.unlink()


def one_class(root):
    for part in PARTS:
        remove(root / part / "dog")


def looped_links(root):
    (root / "train/cat/x.png").symlink_to("y.png")
    (root / "train/cat/y.png").symlink_to("x.png")


def looped_class(root):
    for part in PARTS:
        (root / part / "loop").symlink_to("loop")


def without_classes(root):
    for k in range(3):
        put(root / f"{k}.png", pixels(k))
    return {}


def one_picture(root):
    class_folders(root)
    for k in range(1, 8):
        (root / "cat" / f"{k:02}.png").unlink()
    return {}


def two_classes_of_one_picture(root):
    class_folders(root, count=1)
    return {}


def only_train(root):
    split_folder(root)
    (root / "test").rename(root.parent / "elsewhere")
    return {}


def renamed_parts(train, test):
    def build(root):
        split_folder(root)
        (root / "train").rename(root / train)
        (root / "test").rename(root / test)
        return {}

    return build


def mixed_sizes(root):
    split_folder(root)
    for k in range(40):
        put(root / "train/cat" / f"odd{k:02}.png", pixels(k, (HEIGHT + 1 + k, WIDTH)))
    return {}


def small_ones(root):
    split_folder(root)
    for k in range(40):
        put(root / "train/cat" / f"small{k:02}.png", pixels(k, (2, 2 + k)))
    return {"centre_crop": 4}


def crop_above_all(root):
    split_folder(root)
    return {"centre_crop": 40}


def a_constant_crop(root):
    split_folder(root)
    edges = np.full((HEIGHT, WIDTH), 9, np.uint8)
    edges[0, 0] = 1
    put(root / "test/dog/edges.png", edges)
    return {"centre_crop": 3}


def nothing(root):
    return {}


def file_for_folder(root):
    root.write_bytes(b"what")
    return {}


def empty_folder(root):
    root.mkdir()
    return {}


def share_with_a_split(root):
    split_folder(root)
    return {"test_share": 0.5}


def many_faults(root):
    """One of each kind, all of which are to be told."""
    split_folder(root)
    (root / "train/cat/zero.png").touch()
    (root / "train/dog/words.png").write_text("no picture")
    (root / "train/dog/note").write_text("no picture")
    put(root / "test/cat/large.png", pixels(1, (9, 9)))
    put(root / "test/dog/flat.png", np.zeros((HEIGHT, WIDTH), np.uint8))
    (root / "test/dog/gone.png").symlink_to("nowhere")
    put(root / "test/bird/0.png", pixels(2))
    (root / "train/fish").mkdir()
    return {}


def bad_names(root):
    split_folder(root)
    (root / "train/cat/two\nlines é.png").write_bytes(b"")
    (root / os.fsdecode(b"train/cat/\xff\xfe.png")).write_bytes(b"")
    return {}


def a_bad_class_name(root):
    class_folders(root, classes=("a\nb", "c"))
    for file in sorted((root / "a\nb").iterdir())[1:]:
        file.unlink()
    return {}


def two_depths(root):
    """A picture whose fault is in a folder of a folder."""
    split_folder(root)
    (root / "train/cat/more/still").mkdir(parents=True)
    (root / "train/cat/more/still/bad.jpg").write_bytes(b"bad")
    return {}


PNG, JPEG = encoded(pixels(5, (64, 64)), "PNG"), encoded(colours(5, 64, 64), "JPEG")
#: name -> (builder of the folder, which returns further settings, words of the message)
FOLDERS = {
    "a text with a picture's ending": (
        a_file("train/cat/x.png", b"no picture"),
        ["train/cat/x.png: no whole picture", "get it again"],
    ),
    "PostScript with a picture's ending": (
        a_file("train/cat/x.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n"),
        ["train/cat/x.png: no whole picture"],
    ),
    "zero bytes": (a_file("test/dog/x.jpg", b""), ["test/dog/x.jpg: it is empty"]),
    "PNG cut short": (a_file("test/dog/x.png", PNG[:900]), ["test/dog/x.png: no whole"]),
    "PNG, its head alone": (a_file("test/dog/x.png", PNG[:40]), ["test/dog/x.png: no whole"]),
    "PNG with a bit flipped": (
        a_file("test/dog/x.png", PNG[:900] + bytes([PNG[900] ^ 1]) + PNG[901:]),
        ["test/dog/x.png: no whole"],
    ),
    "JPEG cut short": (a_file("test/dog/x.jpg", JPEG[:900]), ["test/dog/x.jpg: no whole"]),
    **{
        f"{kind} cut short": (
            a_file(f"test/dog/x.{ending}", encoded(colours(5, 64, 64), kind)[:900]),
            [f"test/dog/x.{ending}: no whole picture"],
        )
        for kind, ending in {
            "GIF": "gif",
            "TIFF": "tif",
            "BMP": "bmp",
            "WEBP": "webp",
            "PPM": "ppm",
            "TGA": "tga",
        }.items()
    },
    "mixed sizes": (
        mixed_sizes,
        [
            "train/cat/odd00.png (7 pixels high and 5 wide)",
            "and 35 more",
            "other sizes than 6 pixels high and 5 wide, which 12 have",
            "set resize and centre_crop",
        ],
    ),
    "smaller than the crop": (
        small_ones,
        [
            "train/cat/small00.png (2 pixels high and 2 wide)",
            "and 35 more",
            "smaller than centre_crop 4",
        ],
    ),
    "all smaller than the crop": (crop_above_all, ["and 7 more: smaller than centre_crop 40"]),
    "CMYK": (
        a_picture("train/cat/x.jpg", Image.fromarray(colours(4)).convert("CMYK")),
        ["train/cat/x.jpg: mode CMYK; save it as grey or RGB of 8 bits"],
    ),
    "floats": (
        a_picture("train/cat/x.tif", Image.fromarray(np.float32(pixels(4)))),
        ["train/cat/x.tif: more than 8 bits a channel"],
    ),
    "palette with transparency": (
        a_picture("train/cat/x.png", transparent_palette()),
        ["train/cat/x.png: it has transparent pixels; put it on a background"],
    ),
    "alpha that is not opaque": (
        a_picture("train/cat/x.png", with_alpha(254)),
        ["train/cat/x.png: it has transparent pixels"],
    ),
    "grey with one transparent value": (
        a_picture("train/cat/x.png", pixels(3), transparency=int(pixels(3)[0, 0])),
        ["train/cat/x.png: it has transparent pixels"],
    ),
    "PNG, grey of 16 bits": (
        a_file("train/cat/x.png", png_of_16_bits(0)),
        ["train/cat/x.png: more than 8 bits a channel", "of 8 bits"],
    ),
    "PNG, RGB of 16 bits": (
        a_file("train/cat/x.png", png_of_16_bits(2)),
        ["train/cat/x.png: more than 8 bits a channel"],
    ),
    "TIFF, grey of 16 bits": (
        a_picture("train/cat/x.tif", np.uint16(pixels(3)) * 7),
        ["train/cat/x.tif: more than 8 bits a channel"],
    ),
    "TIFF, RGB of 16 bits": (
        a_file("train/cat/x.tif", tiff_of_16_bits()),
        ["train/cat/x.tif: more than 8 bits a channel"],
    ),
    "PPM of 16 bits": (
        a_file("train/cat/x.ppm", b"P6 5 6 65535\n" + pixels(3, (HEIGHT, WIDTH, 6)).tobytes()),
        ["train/cat/x.ppm: more than 8 bits a channel"],
    ),
    "PPM as text, of 12 bits": (
        a_file("train/cat/x.ppm", b"P3 5 6 4095\n" + b"4095 0 9 " * 30),
        ["train/cat/x.ppm: more than 8 bits a channel"],
    ),
    "JPEG 2000 of 16 bits": (
        a_file("train/cat/x.jp2", jpeg2000_of_16_bits()),
        ["train/cat/x.jp2: more than 8 bits a channel"],
    ),
    "animated": (changed(animated), ["train/cat/moves.gif: it has several frames; keep one"]),
    "constant": (
        a_picture("train/cat/x.png", np.full((HEIGHT, WIDTH), 200, np.uint8)),
        ["train/cat/x.png: every pixel is the same", "leave it out"],
    ),
    "constant where it is cut out": (a_constant_crop, ["test/dog/edges.png: every pixel is"]),
    "an empty class": (changed(emptied), ["test/dog: a class without a picture", "fill it"]),
    "one class": (changed(one_class), ["pictures/train: it has the one class cat", "two at least"]),
    "a class that is in train alone": (
        changed(lambda root: remove(root / "test/dog")),
        ["train/dog: a class that test lacks; add it there, or take it away"],
    ),
    "a class that is in test alone": (
        changed(lambda root: put(root / "test/bird/0.png", pixels(1))),
        ["test/bird: a class that train lacks"],
    ),
    "no class": (without_classes, ["it has no class; make a folder a class"]),
    "an empty folder": (empty_folder, ["it has no class"]),
    "a class of one picture, no split": (
        one_picture,
        ["cat: a class with one picture", "cannot both train and test"],
    ),
    "classes of one picture, no split": (
        two_classes_of_one_picture,
        ["cat, dog: a class with one"],
    ),
    "a broken link": (
        changed(lambda root: (root / "train/cat/x.png").symlink_to("gone.png")),
        ["train/cat/x.png: a link to nowhere; mend it"],
    ),
    "a broken link for a class": (
        changed(lambda root: (root / "train/bird").symlink_to("gone")),
        ["train/bird: a link to nowhere"],
    ),
    "links that are a loop": (
        changed(looped_links),
        ["train/cat/x.png, train/cat/y.png: a link to nowhere"],
    ),
    "a class that is a link to itself": (
        changed(looped_class),
        ["train/loop, test/loop: a link to nowhere"],
    ),
    "a pipe": (
        changed(lambda root: os.mkfifo(root / "train/cat/x.png")),
        ["train/cat/x.png: no plain file"],
    ),
    "a file of another kind": (
        a_file("train/cat/x.mp4", b"film"),
        ["train/cat/x.mp4: no picture by its ending", "convert it to PNG"],
    ),
    "train without test": (only_train, ["has the folders train", "train and test"]),
    "train and val": (renamed_parts("train", "val"), ["has the folders train, val"]),
    "capital letters": (renamed_parts("Train", "Test"), ["has the folders Test, Train"]),
    "training and testing": (renamed_parts("training", "testing"), ["testing, training", "name"]),
    "a share where there is a split": (share_with_a_split, ["train and test", "test_share out"]),
    "a file for the folder": (file_for_folder, ["found a file at", "name its folder"]),
    "no folder": (nothing, ["found nothing at", "correct the path"]),
    "a folder of a folder": (two_depths, ["train/cat/more/still/bad.jpg: no whole"]),
    "names with signs that break lines": (bad_names, ["two\\nlines é.png", "\\udcff\\udcfe.png"]),
    "a class with a newline": (a_bad_class_name, ["a\\nb: a class with one picture"]),
    "many faults": (
        many_faults,
        [
            "train/cat/zero.png: it is empty",
            "train/dog/words.png: no whole picture",
            "train/dog/note: no picture by its ending",
            "test/cat/large.png (9 pixels high and 9 wide): other sizes than 6 pixels high and 5 "
            "wide, which",
            "test/dog/flat.png: every pixel is the same",
            "test/dog/gone.png: a link to nowhere",
            "train/fish: a class that test lacks",
            "test/bird: a class that train lacks",
            "train/fish: a class without a picture",
        ],
    ),
}


@pytest.mark.parametrize("case", FOLDERS)
def test_bad_folders_are_told_by_name(case, place):
    build, words = FOLDERS[case]
    settings = build(place / "pictures")
    faults = faults_of(study({"folder": "pictures", **settings}))
    assert [*faults] == ["datasets.mine.folder"]
    text = faults["datasets.mine.folder"]
    assert "allowed: pictures in a folder a class" in text
    for word in words:
        assert word in text
    # sound pictures are not blamed
    assert "cat/0.png" not in text or "crop" in case
    # nothing is kept of what cannot be taken
    assert list(place.glob(".snakemake/sensigap/datasets/*")) == []


UNREADABLE = {
    "a picture": ("train/cat/0.png", "train/cat/0.png: this user may not read it"),
    "a folder of pictures": ("train/cat", "train/cat: this user may not read it"),
    "a part": ("train", "pictures/train cannot be read: Permission denied"),
    "the folder": (".", "pictures cannot be read: Permission denied"),
}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("case", UNREADABLE)
def test_what_this_user_may_not_read_is_told(case, place):
    name, words = UNREADABLE[case]
    split_folder(place / "pictures")
    locked = place / "pictures" / name
    mode = locked.stat().st_mode
    locked.chmod(0)
    try:
        assert words in faults_of(study({"folder": "pictures"}))["datasets.mine.folder"]
    finally:
        locked.chmod(mode)


# --- bad arrays -----------------------------------------------------------------------------------


def saved(**changes):
    """A bad file: right arrays with some of them replaced, None for left out."""

    def build(path):
        without = [name for name, array in changes.items() if array is None]
        arrays(path, without=without, **{n: a for n, a in changes.items() if a is not None})
        return {}

    return build


def one_file(**changes):
    def build(path):
        unsplit(path, **changes)
        return {}

    return build


def bytes_at(make):
    def build(path):
        arrays(path)
        data = make(path.read_bytes())
        path.write_bytes(data)
        return {}

    return build


def an_npy(path):
    with path.open("wb") as opened:
        np.save(opened, pixels(1, (6, HEIGHT, WIDTH)))
    return {}


def a_folder(path):
    path.mkdir()
    return {}


def a_pipe(path):
    os.mkfifo(path)
    return {}


def another_zip(path):
    with zipfile.ZipFile(path, "w") as opened:
        opened.writestr("word/document.xml", "<xml/>")
    return {}


def a_zip_of_texts(path):
    with zipfile.ZipFile(path, "w") as opened:
        for name in ("images", "labels"):
            opened.writestr(name, "no array")
    return {}


class Trap:
    """Leaves a mark where it is unpickled."""

    def __reduce__(self):
        return (os.mkdir, ("unpickled",))


def objects(*traps):
    made = np.empty(6, object)
    made[:] = [Trap() for _ in range(6)]
    return made


def share_of_a_split(path):
    arrays(path)
    return {"test_share": 0.5}


def crop_of_arrays(path):
    arrays(path)
    return {"centre_crop": 20}


def many_arrays_at_fault(path):
    arrays(
        path,
        train_images=pixels(1, (6, HEIGHT, WIDTH)) / 255,
        train_labels=np.eye(2)[[0, 1, 0, 1, 0, 1]],
        test_images=np.zeros((4, HEIGHT, WIDTH), np.uint8),
        test_labels=np.array([0, 1, -1, 0]),
    )
    return {}


#: name -> (builder of the file, which returns further settings, words of the message)
ARRAYS = {
    "no array of the names": (
        saved(test_labels=None),
        ["has the arrays test_images", "save train"],
    ),
    "one array of two": (one_file(labels=np.arange(3)), ["labels: 3 labels for 12 images of"]),
    "another zip": (another_zip, ["has the arrays word/document.xml", "numpy.savez"]),
    "a zip of texts": (a_zip_of_texts, ["images, labels: no array; save it with numpy.savez"]),
    "no zip at all": (bytes_at(lambda data: b"text"), ["is no .npz file", "numpy.savez"]),
    "a pickle": (bytes_at(lambda data: b"\x80\x04N."), ["is no .npz file"]),
    "empty": (bytes_at(lambda data: b""), ["is empty", "numpy.savez"]),
    "cut short": (bytes_at(lambda data: data[:-30]), ["no whole .npz file"]),
    "half": (bytes_at(lambda data: data[: len(data) // 2]), ["no whole .npz file"]),
    "a byte changed": (
        bytes_at(lambda data: data[:200] + bytes([data[200] ^ 1]) + data[201:]),
        ["train_images: cannot be read", "save the file again"],
    ),
    "an .npy file": (an_npy, ["is a single array (.npy)", "numpy.savez"]),
    "a folder": (a_folder, ["found a folder at", "name an .npz file"]),
    "a pipe": (a_pipe, ["found a device or a pipe at"]),
    "nothing": (nothing, ["found nothing at", "correct the path"]),
    "objects for labels": (
        saved(train_labels=objects()),
        ["train_labels: holds Python objects, which are never loaded"],
    ),
    "objects for images": (saved(test_images=objects()), ["test_images: holds Python objects"]),
    "objects for names": (saved(class_names=objects()), ["class_names: holds Python objects"]),
    "floats for pixels": (
        saved(train_images=pixels(1, (6, HEIGHT, WIDTH)) / 255),
        ["train_images: float64; save pixels as uint8, 0 to 255"],
    ),
    "16 bits for pixels": (
        saved(train_images=np.uint16(pixels(1, (6, HEIGHT, WIDTH)))),
        ["train_images: uint16; save pixels as uint8"],
    ),
    "signs for pixels": (
        saved(train_images=pixels(1, (6, HEIGHT, WIDTH)).astype(np.int8)),
        ["train_images: int8"],
    ),
    "flat pixels": (
        saved(train_images=pixels(1, (6, 30))),
        ["train_images: shape (6, 30); save (image, row, column)"],
    ),
    "two channels": (
        saved(train_images=pixels(1, (6, HEIGHT, WIDTH, 2))),
        ["train_images: shape (6, 6, 5, 2); save 1 or 3 channels"],
    ),
    "four channels": (saved(train_images=pixels(1, (6, 4, HEIGHT, WIDTH))), ["1 or 3 channels"]),
    "five axes": (saved(train_images=pixels(1, (6, 1, 1, 4, 4))), ["shape (6, 1, 1, 4, 4)"]),
    "fewer labels": (
        saved(train_labels=np.array([0, 1, 1])),
        ["train_labels: 3 labels for 6 images of train_images"],
    ),
    "more labels": (
        saved(test_labels=np.array([0, 1, 1, 1, 0])),
        ["test_labels: 5 labels for 4 images of test_images"],
    ),
    "floats for labels": (
        saved(train_labels=np.array([0, 1, 0, 1, 0, 1.0])),
        ["train_labels: float64; save class numbers as integers"],
    ),
    "texts for labels": (
        saved(train_labels=np.array(["a", "b"] * 3)),
        ["train_labels: <U1; save class numbers as integers"],
    ),
    "one-hot labels": (
        saved(train_labels=np.eye(2, dtype=int)[[0, 1, 0, 1, 0, 1]]),
        ["train_labels: shape (6, 2); save one class number an image"],
    ),
    "negative labels": (
        saved(test_labels=np.array([0, 1, -1, 0])),
        ["test_labels: labels from -1 to 1; number the classes from 0"],
    ),
    "labels beyond all classes": (
        saved(train_labels=np.array([0, 1, 0, 1, 0, 10**9])),
        ["train_labels: labels from 0 to 1000000000"],
    ),
    "a gap in the classes": (
        saved(train_labels=np.array([0, 3, 0, 3, 0, 3]), test_labels=np.array([0, 3, 0, 3])),
        ["class 1, class 2: no training image has it", "without gaps"],
    ),
    "classes from 1": (
        saved(train_labels=np.array([1, 2, 1, 2, 1, 2]), test_labels=np.array([1, 2, 1, 2])),
        ["class 0: no training image has it"],
    ),
    "a test class that train lacks": (
        saved(test_labels=np.array([0, 1, 2, 1])),
        ["class 2: no training image has it"],
    ),
    "one class": (
        saved(train_labels=np.zeros(6, int), test_labels=np.zeros(4, int)),
        ["labels: every one is 0; two classes at least"],
    ),
    "one class with two names": (
        saved(
            train_labels=np.zeros(6, int),
            test_labels=np.zeros(4, int),
            class_names=np.array(["cat", "dog"]),
        ),
        ["labels: every one is 0", "class_names: 2 names for labels up to 0"],
    ),
    "too few names": (
        saved(class_names=np.array(["cat"])),
        ["class_names: 1 names for labels up to 1"],
    ),
    "too many names": (
        saved(class_names=np.array(["cat", "dog", "bird"])),
        ["class_names: 3 names for labels up to 1"],
    ),
    "no image": (
        saved(train_images=pixels(1, (0, HEIGHT, WIDTH)), train_labels=np.zeros(0, int)),
        ["train_images: shape (0, 6, 5)", "train_labels: no label at all"],
    ),
    "no test image": (
        saved(test_images=pixels(1, (0, HEIGHT, WIDTH)), test_labels=np.zeros(0, int)),
        ["test_images: shape (0, 6, 5)", "test_labels: no label at all"],
    ),
    "train and test of other sizes": (
        saved(test_images=pixels(1, (4, 9, 9))),
        [
            "test_images[0] (9 pixels high and 9 wide)",
            "other sizes than 6 pixels high and 5 wide",
            "set resize",
        ],
    ),
    "constant images": (
        saved(test_images=np.zeros((4, HEIGHT, WIDTH), np.uint8)),
        ["test_images[0], test_images[1]", "every pixel is the same"],
    ),
    "smaller than the crop": (
        crop_of_arrays,
        ["train_images[0] (6 pixels high and 5 wide)", "and 5 more: smaller than centre_crop 20"],
    ),
    "a class of one image": (
        one_file(labels=np.array([0, 1] * 5 + [2, 3])),
        ["class 2, class 3: one image cannot both train and test"],
    ),
    "a share where there is a split": (share_of_a_split, ["has a test set", "test_share out"]),
    "a name with a newline": (
        saved(train_labels=None, **{"x\ny": np.zeros(1)}),
        ["has the arrays test_images, test_labels, train_images, x\\ny"],
    ),
    "many faults": (
        many_arrays_at_fault,
        [
            "train_images: float64",
            "train_labels: shape (6, 2)",
            "test_labels: labels from -1 to 1",
            "test_images[0]",
            "every pixel is the same",
        ],
    ),
}


@pytest.mark.parametrize("case", ARRAYS)
def test_bad_arrays_are_told_by_name(case, place):
    build, words = ARRAYS[case]
    settings = build(place / "mine.npz")
    faults = faults_of(study({"arrays": "mine.npz", **settings}))
    assert [*faults] == ["datasets.mine.arrays"]
    text = faults["datasets.mine.arrays"]
    assert "allowed: images and their classes in an .npz file" in text
    for word in words:
        assert word in text
    assert not (place / "unpickled").exists(), "an object of the file has been made"


def test_objects_that_are_not_asked_for_do_no_harm(place):
    arrays(history=objects())
    assert facts(arrays="mine.npz").train_size == 6
    assert not (place / "unpickled").exists()


# --- keys that make no sense together -------------------------------------------------------------

LONG = "a" * 33
#: name -> (name of the data set, its settings, path -> words)
KEYS = {
    "folder and arrays": (
        "mine",
        {"folder": "pictures", "arrays": "mine.npz"},
        {"datasets.mine.arrays": ["found folder and arrays; allowed: one of them"]},
    ),
    "an unknown name": (
        "mnits",
        {},
        {"datasets.mnits": ["any name with a folder or arrays", "did you mean mnist?"]},
    ),
    "an unknown name with an option": (
        "mine",
        {"resize": 8},
        {"datasets.mine": ["unknown data set; allowed: digits, mnist"]},
    ),
    **{
        f"{key} of a published set": (
            "digits",
            {key: value},
            {
                f"datasets.digits.{key}": [
                    "only with folder or arrays",
                    "add folder: for other files",
                ]
            },
        )
        for key, value in {
            "resize": 8,
            "centre_crop": 8,
            "grey": True,
            "test_share": 0.5,
            "split_seed": 3,
        }.items()
    },
    "a wrong type of a published set": (
        "digits",
        {"resize": "8"},
        {"datasets.digits.resize": ['found "8"', "write 8 without quotes"]},
    ),
    "no pixel": (
        "mine",
        {"folder": "pictures", "centre_crop": 0},
        {"datasets.mine.centre_crop": ["found 0", "from 1 to 4096"]},
    ),
    "the whole for test": (
        "mine",
        {"folder": "pictures", "test_share": 1.0},
        {"datasets.mine.test_share": ["found 1.0", "from 0.01 to 0.99"]},
    ),
    "no folder": (
        "mine",
        {"folder": ""},
        {"datasets.mine.folder": ['found ""', "text, not empty"]},
    ),
    "a number for a folder": ("mine", {"folder": 3}, {"datasets.mine.folder": ["found 3"]}),
    **{
        f"the name {name!r}": (
            name,
            {"folder": "pictures"},
            {f"datasets.{shown}": ["found the name", "at most 32 letters, digits and '_'"]},
        )
        for name, shown in {
            "my-own": "my-own",
            "1st": "1st",
            LONG: LONG,
            "a b": "a b",
            "a\nb": "a\\nb",
            "été": "été",
        }.items()
    },
    "a variable that is not set": (
        "mine",
        {"folder": "$SENSIGAP_NOWHERE/pictures"},
        {"datasets.mine.folder": ["the variable SENSIGAP_NOWHERE is set", "Export"]},
    ),
    "a zero in the path": (
        "mine",
        {"folder": "pic\0tures"},
        {"datasets.mine.folder": ["found nothing at", "pic\\x00tures"]},
    ),
    "a path beyond all names": (
        "mine",
        {"folder": "p" * 300},
        {"datasets.mine.folder": ["cannot be read: File name too long", "correct the path"]},
    ),
    "a newline in the path": (
        "mine",
        {"arrays": "mine\n.npz"},
        {"datasets.mine.arrays": ["found nothing at", "mine\\n.npz"]},
    ),
    "a path below a file": (
        "mine",
        {"folder": "mine.npz/pictures"},
        {"datasets.mine.folder": ["found nothing at"]},
    ),
    "more training images than there are": (
        "mine",
        {"folder": "pictures", "train_size": 7},
        {"datasets.mine.train_size": ["found 7", "at most 6, the training set of mine"]},
    ),
    "a shift as large as the images": (
        "mine",
        {"folder": "pictures", "max_shift": 5},
        {"datasets.mine.max_shift": ["found 5", "below 5, the side of an image of mine"]},
    ),
}


@pytest.mark.parametrize("case", KEYS)
def test_keys_without_sense_are_told(case, place):
    name, settings, expected = KEYS[case]
    split_folder(place / "pictures")
    arrays()
    faults = faults_of(study(settings, name))
    assert [*faults] == [*expected]
    for path, words in expected.items():
        assert all(word in faults[path] for word in words), faults[path]


def test_every_data_set_has_its_line_beside_the_other_faults(place):
    mixed_sizes(place / "pictures")
    arrays(train_labels=np.zeros(3))
    mapping = study({"folder": "pictures"}, "first")
    mapping["datasets"] |= {
        "second": {"arrays": "mine.npz"},
        "third": {"folder": "nowhere"},
        "fo-urth": {"folder": "nowhere"},
        "digits": {"train_size": 501},
    }
    mapping["defaults"]["depth"] = 0
    assert [*faults_of(mapping)] == [
        "datasets.first.folder",
        "datasets.second.arrays",
        "datasets.third.folder",
        "datasets.fo-urth",
        "datasets.fo-urth.folder",
        "datasets.digits.train_size",
        "defaults.depth",
    ]


# --- right ones -----------------------------------------------------------------------------------


def slow_grey(image):
    """Luma of ITU-R 601 with Pillow's integers, pixel by pixel."""
    made = np.empty(image.shape[:2], np.uint8)
    for row, column in np.ndindex(*made.shape):
        red, green, blue = (int(value) for value in image[row, column])
        made[row, column] = (19_595 * red + 38_470 * green + 7_471 * blue + 32_768) >> 16
    return made


def planes(image):
    """(channel, row, column) of a picture, one value at a time."""
    image = image[..., None] if image.ndim == 2 else image
    made = np.empty((image.shape[2], *image.shape[:2]), np.uint8)
    for channel, row, column in np.ndindex(*made.shape):
        made[channel, row, column] = image[row, column, channel]
    return made


def lossless(ending, make, **options):
    """Pictures in a format that keeps every pixel."""

    def build(root):
        put(root / f"train/cat/x.{ending}", make(50), **options)
        return planes(make(50))

    return build


def palette(root):
    """Eight colours, whose numbers say nothing of them."""
    table = pixels(3, (8, 3))
    numbers = pixels(4) % 8
    image = Image.frombytes("P", (WIDTH, HEIGHT), numbers.tobytes())
    image.putpalette(table.tobytes())
    put(root / "train/cat/x.png", image)
    return planes(table[numbers])


def grey_palette(root):
    table = np.repeat(pixels(3, (8, 1)), 3, axis=1)
    numbers = pixels(4) % 8
    image = Image.frombytes("P", (WIDTH, HEIGHT), numbers.tobytes())
    image.putpalette(table.tobytes())
    put(root / "train/cat/x.png", image)
    return planes(table[numbers, 0])


def idle_transparency(root):
    """A colour that no pixel has is transparent."""
    table = pixels(3, (8, 3))
    numbers = pixels(4) % 7
    image = Image.frombytes("P", (WIDTH, HEIGHT), numbers.tobytes())
    image.putpalette(table.tobytes())
    put(root / "train/cat/x.png", image, transparency=7)
    return planes(table[numbers])


def opaque(root):
    put(root / "train/cat/x.png", with_alpha(255))
    return planes(colours(9))


def opaque_grey(root):
    image = Image.merge("LA", [Image.fromarray(pixels(9)), Image.new("L", (WIDTH, HEIGHT), 255)])
    put(root / "train/cat/x.png", image)
    return planes(pixels(9))


def one_bit(root):
    bits = pixels(9) > 127
    put(root / "train/cat/x.png", Image.fromarray(bits))
    return planes(np.where(bits, 255, 0).astype(np.uint8))


def one_bit_tiff(root):
    bits = pixels(9) > 127
    put(root / "train/cat/x.tif", Image.fromarray(bits), compression="group4")
    return planes(np.where(bits, 255, 0).astype(np.uint8))


#: EXIF's orientation -> what a viewer shows of the stored rows and columns
TURNED = {
    1: lambda image: image,
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: np.swapaxes(image, 0, 1),
    6: lambda image: np.swapaxes(image[::-1], 0, 1),
    7: lambda image: np.swapaxes(image[::-1, ::-1], 0, 1),
    8: lambda image: np.swapaxes(image, 0, 1)[::-1],
}


def turned(orientation, ending):
    def build(root):
        image = colours(9)
        if orientation > 4:
            image = colours(9, WIDTH, HEIGHT)
        exif = Image.Exif()
        exif[274] = orientation
        put(root / f"train/cat/x.{ending}", image, exif=exif)
        return planes(TURNED[orientation](image))

    return build


def as_named(name):
    """A right picture under an odd name."""

    def build(root):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(encoded(pixels(50), "PNG"))
        return planes(pixels(50))

    return build


def linked_file(root):
    put(root.parent / "elsewhere/y.png", pixels(50))
    (root / "train/cat/x.png").symlink_to(root.parent / "elsewhere/y.png")
    return planes(pixels(50))


def linked_folder(root):
    put(root.parent / "elsewhere/y.png", pixels(50))
    (root / "train/cat/x").symlink_to(root.parent / "elsewhere")
    return planes(pixels(50))


def one_folder_by_two_links(root):
    linked_folder(root)
    (root / "train/cat/z").symlink_to("x")
    return planes(pixels(50))


def links_back(root):
    """To the class, to train, and to the whole: none is another picture."""
    for k, target in enumerate((".", "..", "../..", root.resolve())):
        (root / "train/cat" / f"back{k}").symlink_to(target)
    put(root / "train/cat/x.png", pixels(50))
    return planes(pixels(50))


def ignored(*names):
    """Files that are none of the data set's, and a right picture."""

    def build(root):
        for name in names:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(b"whatever")
        return as_named("train/cat/x.png")(root)

    return build


def palette_of_bmp(root):
    numbers = pixels(4) % 8
    table = pixels(3, (8, 3))
    image = Image.frombytes("P", (WIDTH, HEIGHT), numbers.tobytes())
    image.putpalette(table.tobytes())
    put(root / "train/cat/x.bmp", image)
    return planes(table[numbers])


#: name -> builder, which adds one picture to train/cat and returns what it must become
RIGHT = {
    **{
        f"{kind} {ending}": lossless(ending, make, **options)
        for kind, make in (("grey", pixels), ("colour", colours))
        for ending, options in {
            "png": {},
            "bmp": {},
            "tif": {},
            "tiff": {"compression": "tiff_lzw"},
            "webp": {"lossless": True},
            "tga": {},
            "jp2": {},
            "pgm" if kind == "grey" else "ppm": {},
        }.items()
    },
    "grey GIF": lossless("gif", pixels),
    "palette": palette,
    "palette of BMP": palette_of_bmp,
    "grey palette": grey_palette,
    "palette with transparency that is not used": idle_transparency,
    "opaque alpha": opaque,
    "grey with opaque alpha": opaque_grey,
    "one bit": one_bit,
    "one bit in a TIFF": one_bit_tiff,
    **{
        f"EXIF orientation {orientation} {ending}": turned(orientation, ending)
        for orientation, ending in [*((k, "png") for k in TURNED), (6, "tif"), (8, "tif")]
    },
    "ending in upper case": as_named("train/cat/x.PNG"),
    "name with spaces and unicode": as_named("train/cat/x ñ 猫.png"),
    "name with a newline": as_named("train/cat/x\ny.png"),
    "name that is no text": as_named(os.fsdecode(b"train/cat/x\xff.png")),
    "another format than its ending": as_named("train/cat/x.jpg"),
    "folders in a class": as_named("train/cat/x/y/z.png"),
    "a link": linked_file,
    "a link to a folder": linked_folder,
    "two links to a folder": one_folder_by_two_links,
    "links that go round": links_back,
    "hidden files and folders": ignored(
        ".hidden/1.png", "train/.ipynb_checkpoints/0.png", "train/cat/.DS_Store", "test/._cat"
    ),
    "files of Windows and macOS": ignored(
        "train/cat/Thumbs.db", "train/cat/desktop.ini", "__MACOSX/train/cat/0.png"
    ),
    "notes beside pictures": ignored("README.txt", "train/labels.csv", "train/cat/README.md"),
    "a folder beside train and test": ignored("val/cat/0.png"),
}


@pytest.mark.parametrize("case", RIGHT)
def test_right_pictures_become_what_they_are(case, place):
    root = place / "pictures"
    train, test = split_folder(root)
    expected = RIGHT[case](root)
    images = read(folder="pictures")
    assert images.class_names == ("cat", "dog")
    # after the three others of cat by its name
    assert images.train_labels.tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert images.test_labels.tolist() == [0, 0, 0, 1, 1, 1]
    channels = len(expected)
    assert images.train_images.dtype == np.uint8
    assert images.train_images.shape == (7, channels, HEIGHT, WIDTH)
    np.testing.assert_array_equal(images.train_images[3], expected)
    # grey ones among colours have three alike channels
    others = np.delete(images.train_images, 3, axis=0)
    for channel in range(channels):
        np.testing.assert_array_equal(others[:, channel], train)
        np.testing.assert_array_equal(images.test_images[:, channel], test)


@pytest.mark.parametrize("ending", ["tif", "bmp", "ppm", "png", "tga", "webp"])
@pytest.mark.parametrize("width", [15, 16, 160])
def test_a_width_of_16_is_not_a_depth_of_16(place, ending, width):
    split_folder(place / "pictures", lambda seed: colours(seed, 4, width), ending, count=1)
    assert facts(folder="pictures").shape == (3, 4, width)


def test_a_jpeg_is_what_pillow_reads(place):
    """Within the loss of the format, which smooth pictures hardly have."""
    smooth = np.add.outer(np.arange(16), 3 * np.arange(16)).astype(np.uint8) + 40
    split_folder(place / "pictures", lambda seed: smooth + np.uint8(seed % 7), "jpg")
    images = read(folder="pictures")
    assert images.train_images.shape == (6, 1, 16, 16)
    assert np.abs(images.train_images[1, 0] - (smooth + 1.0)).max() <= 3


def test_layouts_of_arrays_and_of_a_folder_are_the_same_images(place):
    names = [
        ("train_images", "train_labels", "test_images", "test_labels"),
        ("x_train", "y_train", "x_test", "y_test"),
    ]
    train, test = split_folder(place / "pictures", colours)
    labels = np.repeat([0, 1], 3)
    expected = read(folder="pictures")
    for k, (x, y, tx, ty) in enumerate(names):
        for order, (a, b) in {
            "last": (train, test),
            "first": (train.transpose(0, 3, 1, 2), test.transpose(0, 3, 1, 2)),
            "mixed": (np.asfortranarray(train), test.transpose(0, 3, 1, 2)),
        }.items():
            kinds = {"last": np.uint8, "first": ">i8", "mixed": np.int32}
            given = {x: a, y: labels.astype(kinds[order]), tx: b, ty: labels[:, None]}
            np.savez(f"{k}{order}.npz", **given, class_names=np.array([b"cat", b"dog"]))
            images = read(arrays=f"{k}{order}.npz")
            assert images.checksum == expected.checksum
            assert images.class_names == ("cat", "dog")
            np.testing.assert_array_equal(images.train_images[4], planes(train[4]))


def test_grey_arrays_of_every_layout_are_the_same_images(place):
    train, test = split_folder(place / "pictures")
    labels, expected = np.repeat([0, 1], 3), read(folder="pictures")
    for k, (a, b) in enumerate(
        [
            (train, test),
            (train[..., None], test[:, None]),
            (np.repeat(train[..., None], 3, axis=3), np.repeat(test[:, None], 3, axis=1)),
        ]
    ):
        np.savez(f"{k}.npz", x_train=a, y_train=labels, x_test=b, y_test=labels)
        images = read(arrays=f"{k}.npz")
        assert images.train_images.shape == (6, 1, HEIGHT, WIDTH)
        assert images.checksum == expected.checksum
        assert images.class_names == ("0", "1")


# --- options --------------------------------------------------------------------------------------


def test_a_crop_is_the_middle(place):
    for height, width, side in ((6, 9, 4), (7, 7, 4), (5, 8, 5), (6, 6, 1 + 1)):
        root = place / f"{height}x{width}"
        train, _ = split_folder(root, lambda seed, h=height, w=width: colours(seed, h, w))
        images = read(folder=str(root), preparation=Preparation(centre_crop=side))
        top, left = (height - side) // 2, (width - side) // 2
        for found, picture in zip(images.train_images, train, strict=True):
            np.testing.assert_array_equal(
                found, planes(picture[top : top + side, left : left + side])
            )


def blocks(seed, height=4, width=6, factor=4):
    """A picture of blocks of one colour each, and what halving it blockwise must give."""
    return np.kron(colours(seed, height, width), np.ones((factor, factor, 1), np.uint8))


def slow_halving(values):
    """Pillow's bilinear filter to half the size along one axis: a tent of two pixels each way."""
    count = len(values) // 2
    made = np.empty((count, *values.shape[1:]))
    for k in range(count):
        centre = 2 * k + 1
        taps = [j for j in range(len(values)) if abs(j + 0.5 - centre) < 2]
        weights = np.array([1 - abs(j + 0.5 - centre) / 2 for j in taps])
        made[k] = np.tensordot(weights / weights.sum(), values[taps], 1)
    return made


def test_resize_scales_the_shorter_side(place):
    """Upright and lying pictures; the longer side keeps the ratio."""
    make = {
        "upright": lambda seed: blocks(seed, 6, 4),
        "lying": lambda seed: blocks(seed, 4, 6),
    }
    for name, picture in make.items():
        train, _ = split_folder(place / name, picture)
        images = read(folder=name, preparation=Preparation(resize=8))
        height, width = picture(0).shape[:2]
        assert images.train_images.shape[2:] == (height // 2, width // 2)
        for found, whole in zip(images.train_images, train, strict=True):
            rows = slow_halving(whole.astype(float))
            expected = slow_halving(rows.swapaxes(0, 1)).swapaxes(0, 1)
            # Pillow rounds twice
            assert np.abs(found.transpose(1, 2, 0) - expected).max() <= 1.01


def test_mixed_sizes_are_mended_by_resize_and_crop(place):
    mixed_sizes(place / "pictures")
    images = read(folder="pictures", preparation=Preparation(resize=4, centre_crop=4))
    assert images.train_images.shape == (46, 1, 4, 4)
    # resize alone leaves them of several heights
    with pytest.raises(
        own.SourceError, match=r"other sizes than 5 pixels high and 4 wide.*centre_crop"
    ):
        read(folder="pictures", preparation=Preparation(resize=4))


def test_grey_gives_colours_up(place):
    train, _ = split_folder(place / "pictures", colours)
    images = read(folder="pictures", preparation=Preparation(grey=True))
    assert images.train_images.shape == (6, 1, HEIGHT, WIDTH)
    for found, picture in zip(images.train_images, train, strict=True):
        np.testing.assert_array_equal(found[0], slow_grey(picture))


def test_options_hold_for_arrays_too(place):
    train, test = split_folder(place / "pictures", lambda seed: colours(seed, 12, 16))
    labels = np.repeat([0, 1], 3)
    np.savez("mine.npz", x_train=train, y_train=labels, x_test=test, y_test=labels)
    for options in (
        Preparation(resize=6),
        Preparation(centre_crop=7),
        Preparation(6, 5, grey=True),
    ):
        given = read(arrays="mine.npz", preparation=options)
        assert given.checksum == read(folder="pictures", preparation=options).checksum


# --- splits ---------------------------------------------------------------------------------------


def held_out(images, whole):
    """Which of these images test."""
    found = {image.tobytes() for image in images.test_images}
    assert len(found) == len(images.test_images)
    trains = {image.tobytes() for image in images.train_images}
    assert not found & trains, "an image trains and tests"
    assert found | trains == {image.tobytes() for image in whole}
    return [k for k, image in enumerate(whole) if image.tobytes() in found]


def test_a_split_is_seeded_and_has_every_class_in_both_parts(place):
    whole, labels = pixels(3, (60, HEIGHT, WIDTH)), np.arange(60) % 3
    np.savez("mine.npz", images=whole, labels=labels)
    chosen = [held_out(read(arrays="mine.npz", split_seed=seed), whole) for seed in (0, 0, 1, 2, 3)]
    assert chosen[0] == chosen[1]
    assert len({tuple(tests) for tests in chosen}) == 4
    for tests in chosen:
        # a quarter of each class
        assert np.bincount(labels[tests]).tolist() == [5, 5, 5]
    images = read(arrays="mine.npz")
    for part, part_labels in (
        (images.train_images, images.train_labels),
        (images.test_images, images.test_labels),
    ):
        for image, label in zip(part, part_labels, strict=True):
            assert labels[[np.array_equal(image[0], w) for w in whole].index(True)] == label


@pytest.mark.parametrize(("share", "count"), [(0.01, 1), (0.25, 2), (0.5, 4), (0.99, 7)])
def test_the_share_of_each_class_that_tests(place, share, count):
    class_folders(place / "pictures", count=8, classes=("a", "b", "c"))
    images = read(folder="pictures", test_share=share)
    assert np.bincount(images.test_labels).tolist() == [count] * 3
    assert np.bincount(images.train_labels).tolist() == [8 - count] * 3


def test_two_images_of_a_class_are_one_each(place):
    class_folders(place / "pictures", count=2)
    images = read(folder="pictures", test_share=0.99)
    assert images.train_labels.tolist() == images.test_labels.tolist() == [0, 1]


def test_a_split_depends_on_the_seed_alone(place):
    """Not on pixels, names of files and classes, the folder's name or its format."""
    class_folders(place / "pictures")
    expected = read(folder="pictures")
    class_folders(place / "other", classes=("Katze", "Pferd"))
    assert read(folder="other").checksum == expected.checksum
    whole = np.stack([pixels(100 * c + k) for c in range(2) for k in range(8)])
    np.savez("mine.npz", images=whole, labels=np.repeat([0, 1], 8))
    assert read(arrays="mine.npz").checksum == expected.checksum
    chosen = held_out(expected, whole)
    np.savez("mine.npz", images=255 - whole, labels=np.repeat([0, 1], 8))
    assert held_out(read(arrays="mine.npz"), 255 - whole) == chosen
    # another class beside them leaves theirs as they were
    put(place / "pictures/zebra/0.png", pixels(900))
    put(place / "pictures/zebra/1.png", pixels(901))
    more = held_out(read(folder="pictures"), np.concatenate([whole, [pixels(900), pixels(901)]]))
    assert [k for k in more if k < 16] == chosen


# --- checksums ------------------------------------------------------------------------------------

#: name -> change of pixels, labels and test images that are other images
CHANGES = {
    "a pixel": lambda x, y, t: x.__setitem__((0, 0, 0), x[0, 0, 0] ^ 1),
    "a test pixel": lambda x, y, t: t.__setitem__((3, 2, 1), t[3, 2, 1] ^ 1),
    "a label": lambda x, y, t: y.__setitem__(0, 1 - y[0]),
    "the order": lambda x, y, t: x.__setitem__(slice(None), x[::-1].copy()),
}


def test_the_content_is_that_of_pixels_and_labels(place):
    train, test = split_folder(place / "pictures", colours)
    content = facts(folder="pictures").content
    assert re.fullmatch(r"[0-9a-f]{8}", content)
    for ending in ("bmp", "tif", "ppm", "tga"):
        split_folder(place / ending, colours, ending)
        assert facts(folder=ending).content == content
    (place / "pictures").rename(place / "moved elsewhere")
    assert again(folder="moved elsewhere").content == content
    labels = np.repeat([0, 1], 3)
    for compressed in (np.savez, np.savez_compressed):
        compressed("same.npz", x_train=train, y_train=labels, x_test=test, y_test=labels)
        assert again(arrays="same.npz").content == content
    found = {content}
    for k, change in enumerate(CHANGES.values()):
        x, y, t = train.copy(), labels.copy(), test.copy()
        change(x, y, t)
        np.savez(f"{k}.npz", x_train=x, y_train=y, x_test=t, y_test=labels)
        found.add(facts(arrays=f"{k}.npz").content)
    assert len(found) == 1 + len(CHANGES)


def test_another_split_or_shape_is_another_content(place):
    unsplit()
    sources = [
        {},
        {"split_seed": 1},
        {"test_share": 0.5},
        {"preparation": Preparation(centre_crop=4)},
        {"preparation": Preparation(resize=4)},
    ]
    contents = {facts(arrays="mine.npz", **settings).content for settings in sources}
    assert len(contents) == len(sources)
    # the same bytes in another shape
    unsplit("turned.npz", images=pixels(3, (12, HEIGHT, WIDTH)).reshape(12, WIDTH, HEIGHT))
    assert facts(arrays="turned.npz").content not in contents


def test_grey_pictures_are_the_same_in_formats_without_grey(place):
    split_folder(place / "png")
    expected = facts(folder="png")
    assert expected.channels == 1
    for p, part in enumerate(PARTS):
        for c, name in enumerate(CLASSES):
            for k in range(3):
                image = pixels(100 * p + 10 * c + k)
                put(place / f"webp/{part}/{name}/{k}.webp", image, lossless=True)
                put(place / f"rgb/{part}/{name}/{k}.png", np.dstack([image] * 3))
                put(place / f"gif/{part}/{name}/{k}.gif", image)
                opaque_one = np.dstack([image] * 3 + [np.full_like(image, 255)])
                put(place / f"rgba/{part}/{name}/{k}.png", opaque_one)
    for folder in ("webp", "rgb", "gif", "rgba"):
        assert facts(folder=folder) == expected


# --- facts that are kept --------------------------------------------------------------------------


@pytest.fixture
def readings(monkeypatch):
    """Counts how often images are read."""
    calls = []
    original = own.read

    def counted(source):
        calls.append(source)
        return original(source)

    monkeypatch.setattr(own, "read", counted)
    return calls


def touch(path):
    stamp = path.stat()
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns + 1))


def longer(path):
    """Of another size, with the time stamp that it had."""
    stamp = path.stat()
    path.write_bytes(path.read_bytes() + b"\0")
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))


def to_a_link(root):
    (root / "train/cat/x").symlink_to("../dog")


#: what a person does -> whether the images have to be read again
DEEDS = {
    "nothing": (lambda root: None, False),
    "a time stamp": (lambda root: touch(root / "train/cat/0.png"), True),
    "a size": (lambda root: longer(root / "train/cat/0.png"), True),
    "a file more": (lambda root: put(root / "test/cat/9.png", pixels(9)), True),
    "a file less": (lambda root: (root / "test/cat/0.png").unlink(), True),
    "another name": (
        lambda root: (root / "test/cat/0.png").rename(root / "test/cat/first.png"),
        True,
    ),
    "another class": (
        lambda root: (root / "test/cat/0.png").rename(root / "test/dog/9.png"),
        True,
    ),
    "a class by another name": (
        lambda root: [(root / p / "cat").rename(root / p / "zebra") for p in PARTS],
        True,
    ),
    "a link to another class": (to_a_link, True),
    "a hidden file": (lambda root: (root / "train/cat/.DS_Store").write_text("x"), False),
    "thumbnails": (lambda root: (root / "train/cat/Thumbs.db").write_text("x"), False),
    "a look": (lambda root: (root / "train/cat/0.png").read_bytes(), False),
}


@pytest.mark.parametrize("deed", DEEDS)
def test_images_are_read_again_where_a_file_changed_and_only_there(deed, place, readings):
    root = place / "pictures"
    split_folder(root)
    first = facts(folder="pictures")
    assert len(readings) == 1
    assert facts(folder="pictures") == again(folder="pictures") == first
    assert len(readings) == 1
    change, reads = DEEDS[deed]
    change(root)
    found = again(folder="pictures")
    assert len(readings) == 1 + reads
    images, _ = own.read(own.Source("mine", folder="pictures"))
    assert found == own.facts_of(images)
    assert again(folder="pictures") == found


def test_an_empty_class_is_told_though_facts_are_kept(place):
    split_folder(place / "pictures")
    facts(folder="pictures")
    (place / "pictures/train/zebra").mkdir()
    with pytest.raises(own.SourceError, match="zebra"):
        again(folder="pictures")


def test_a_link_that_leads_elsewhere_is_read_again(place, readings):
    root = place / "pictures"
    split_folder(root)
    class_folders(place / "other", count=2, classes=("a", "b"))
    for name in "ab":
        for k in range(2):
            file = place / f"other/{name}/{k:02}.png"
            put(file, pixels(ord(name) + k))
            file.write_bytes(file.read_bytes().ljust(200, b"\0"))
            os.utime(file, ns=(10**18, 10**18))
    link = root / "train/cat/more"
    link.symlink_to(place / "other/a")
    first = facts(folder="pictures")
    link.unlink()
    link.symlink_to(place / "other/b")
    assert again(folder="pictures").content != first.content
    assert len(readings) == 2


def test_arrays_are_read_again_where_they_changed(place, readings):
    arrays()
    first = facts(arrays="mine.npz")
    assert again(arrays="mine.npz") == first
    assert len(readings) == 1
    touch(place / "mine.npz")
    assert again(arrays="mine.npz") == first
    assert len(readings) == 2
    arrays(train_images=pixels(77, (6, HEIGHT, WIDTH)))
    assert again(arrays="mine.npz").content != first.content


def test_facts_of_images_that_were_taken_away_still_serve(place, readings):
    split_folder(place / "pictures")
    arrays()
    expected = [facts(folder="pictures"), facts(arrays="mine.npz")]
    (place / "pictures").rename(place / "away")
    (place / "mine.npz").unlink()
    assert [again(folder="pictures"), facts(arrays="mine.npz")] == expected
    assert config.load(study({"folder": "pictures"})).facts("mine") == expected[0]
    assert len(readings) == 2
    # with other options nothing is known of them
    with pytest.raises(own.SourceError, match="found nothing"):
        facts(folder="pictures", preparation=Preparation(grey=True))


def kept_files(place):
    return list((place / ".snakemake/sensigap/datasets").iterdir())


def altered(change):
    """A cache file whose facts are other ones than were kept."""

    def damage(path):
        found = json.loads(path.read_text())
        change(found)
        path.write_text(json.dumps(found))

    return damage


def a_folder_instead(path):
    path.unlink()
    path.mkdir()


FOREIGN = {
    "empty": lambda path: path.write_bytes(b""),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-20]),
    "no text": lambda path: path.write_bytes(b"\xff\xfe\0"),
    "no JSON": lambda path: path.write_text("facts: yes"),
    "null": lambda path: path.write_text("null"),
    "a list": lambda path: path.write_text("[1, 2]"),
    "a number": lambda path: path.write_text("3"),
    "another mapping": lambda path: path.write_text('{"inventory": "", "facts": {}}'),
    "nested without end": lambda path: path.write_text("[" * 100_000),
    "facts of another version": altered(lambda found: found["facts"].update(colour=3)),
    "facts without a field": altered(lambda found: found["facts"].pop("flip")),
    "a text for a number": altered(lambda found: found["facts"].update(train_size="many")),
    "another number": altered(lambda found: found["facts"].update(train_size=60_000)),
    "no inventory": altered(lambda found: found.pop("inventory")),
    "a folder": a_folder_instead,
}


@pytest.mark.parametrize("case", FOREIGN)
def test_a_broken_or_foreign_cache_does_no_harm(case, place):
    split_folder(place / "pictures")
    first = facts(folder="pictures")
    [kept] = kept_files(place)
    FOREIGN[case](kept)
    assert again(folder="pictures") == first
    assert again(folder="pictures") == first
    assert kept_files(place) == [kept], "something else was left there"


def test_without_snakemakes_folder_nothing_is_kept(place):
    (place / ".snakemake").rmdir()
    split_folder(place / "pictures")
    assert facts(folder="pictures").train_size == 6
    assert [path.name for path in place.iterdir()] == ["pictures"]


# --- the store ------------------------------------------------------------------------------------


def test_a_store_holds_what_was_given(place):
    train, test = split_folder(place / "pictures", colours)
    source = own.Source("mine", folder="pictures")
    content = own.facts(source).content
    store = place / f"{store_name('mine', own.facts(source))}.zarr"
    assert store.name == f"mine-{content}.zarr"
    datasets.prepare("mine", store, source=source, content=content)
    images = datasets.load(store)
    assert (images.name, images.class_names) == ("mine", ("cat", "dog"))
    np.testing.assert_array_equal(images.train_images, [planes(image) for image in train])
    np.testing.assert_array_equal(images.test_images, [planes(image) for image in test])
    assert images.train_labels.tolist() == images.test_labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert own.facts_of(images) == own.facts(source)


def test_a_store_of_other_images_than_were_planned_is_refused(place):
    split_folder(place / "pictures")
    source = own.Source("mine", folder="pictures")
    content = own.facts(source).content
    put(place / "pictures/test/dog/0.png", pixels(999))
    with pytest.raises(datasets.DatasetError, match="others than when the run was planned") as told:
        datasets.prepare("mine", place / "mine.zarr", source=source, content=content)
    assert "Run again" in str(told.value)
    assert not (place / "mine.zarr").exists()
    # whatever they are, where nothing was planned
    datasets.prepare("mine", place / "mine.zarr", source=source)
    assert datasets.load(place / "mine.zarr").test_images[3, 0].tolist() == pixels(999).tolist()


def test_a_store_of_bad_images_is_refused(place):
    many_faults(place / "pictures")
    source = own.Source("mine", folder="pictures")
    with pytest.raises(own.SourceError, match=r"datasets\.mine.*zero\.png") as told:
        datasets.prepare("mine", place / "mine.zarr", source=source)
    assert str(told.value).isprintable()
    assert [path.name for path in place.glob("*.zarr")] == []


def test_names_of_classes_are_kept_whatever_they_are(place):
    names = ("a\nb", os.fsdecode(b"c\xff"), "猫 1")
    class_folders(place / "pictures", count=2, classes=names)
    source = own.Source("mine", folder="pictures")
    datasets.prepare("mine", place / "mine.zarr", source=source, content=own.facts(source).content)
    assert datasets.load(place / "mine.zarr").class_names == tuple(sorted(names))


# --- a study --------------------------------------------------------------------------------------


def make_split_folder(place):
    split_folder(place / "images", lambda seed: colours(seed, 24, 32))


def make_class_folders(place):
    class_folders(place / "images", count=10, classes=("a", "b", "c"))


def make_arrays(place):
    arrays("images")
    (place / "images.npz").rename(place / "images")


def make_unsplit(place):
    unsplit("images")
    (place / "images.npz").rename(place / "images")


#: layout -> (builder, key, (train size, test size, shape, classes), largest shift)
LAYOUTS = {
    "train and test": (make_split_folder, "folder", (6, 6, (3, 24, 32), 2), 3),
    "a folder a class": (make_class_folders, "folder", (24, 6, (1, 6, 5), 3), 1),
    "arrays with a split": (make_arrays, "arrays", (6, 4, (1, 6, 5), 2), 1),
    "arrays without a split": (make_unsplit, "arrays", (9, 3, (1, 6, 5), 3), 1),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_study_reads_shapes_sizes_and_classes(layout, place, monkeypatch):
    build, key, expected, shift = LAYOUTS[layout]
    build(place)
    monkeypatch.setenv("MY_IMAGES", str(place))
    made = config.load(
        study({key: "$MY_IMAGES/images"}, measures={"ellipses": {"share": 0}, "transitions": {}})
    )
    found = made.facts("mine")
    assert (found.train_size, found.test_size, found.shape, found.classes) == expected
    assert made.source("mine") == own.Source("mine", **{key: "$MY_IMAGES/images"})
    assert found.published == f"sha256:{own.read(made.source('mine'))[0].checksum}"
    resolved = made.dataset("mine")
    assert (resolved.train_size, resolved.max_shift, resolved.flip) == (expected[0], shift, False)
    assert resolved.input_noise == found.input_noise > 0
    assert resolved.fit_accuracy == 1.0
    assert made.settings("transitions", "mine")["points"] == expected[1]


def test_the_noise_is_as_large_as_the_distance_between_classes(place):
    """Of every image to the nearest one of another class, the 1% quantile over sqrt(d)."""
    train, _ = split_folder(place / "pictures")
    flat = train.reshape(6, -1).astype(float)
    flat = (flat - flat.mean(1, keepdims=True)) / flat.std(1, keepdims=True)
    nearest = []
    for k in range(6):
        others = [j for j in range(6) if (j < 3) != (k < 3)]
        nearest.append(min(np.sqrt(((flat[k] - flat[j]) ** 2).sum()) for j in others))
    dose = np.quantile(nearest, 0.01) / np.sqrt(HEIGHT * WIDTH)
    assert facts(folder="pictures").input_noise == float(f"{dose:.2g}")


def test_a_known_name_has_its_defaults(place):
    split_folder(place / "pictures", lambda seed: colours(seed, 32, 32))
    made = config.load(study({"folder": "pictures"}, "cifar10"))
    found, resolved, known = made.facts("cifar10"), made.dataset("cifar10"), KNOWN["cifar10"]
    assert (found.train_size, found.classes, found.shape) == (6, 2, (3, 32, 32))
    assert (resolved.flip, resolved.max_shift, resolved.input_noise) == (True, 4, 0.6)
    assert resolved.train_size == 6
    assert found.content != known.content
    # the same images under another name: read, not known
    other = config.load(study({"folder": "pictures"})).facts("mine")
    assert other.content == found.content
    assert (other.flip, other.max_shift) == (False, 4)
    assert other.input_noise != 0.6


@pytest.mark.parametrize(("name", "side"), [("mine", 1), ("mine", 2), ("cifar10", 3)])
def test_the_default_shift_is_below_the_side(place, name, side):
    split_folder(place / "pictures", lambda seed: colours(seed, side, 9))
    assert config.load(study({"folder": "pictures"}, name)).dataset(name).max_shift < side


def test_settings_win_over_what_is_read(place):
    class_folders(place / "pictures", count=20)
    settings = {
        "folder": "pictures",
        "test_share": 0.5,
        "split_seed": 4,
        "centre_crop": 4,
        "train_size": 6,
        "subset_seed": 2,
        "max_shift": 2,
        "flip": True,
        "input_noise": 0.25,
        "fit_accuracy": 0.9,
    }
    made = config.load(study(settings))
    assert made.facts("mine").shape == (1, 4, 4)
    assert made.facts("mine").train_size == made.facts("mine").test_size == 20
    assert made.source("mine") == own.Source(
        "mine", "pictures", None, Preparation(None, 4, False), 0.5, 4
    )
    kept = made.dataset("mine").model_dump()
    assert {key: settings[key] for key in kept if key in settings}.items() <= kept.items()


def test_facts_are_plain(place):
    """They are kept as JSON and come back the same."""
    arrays()
    found = facts(arrays="mine.npz")
    assert again(arrays="mine.npz") == found
    for name, value in dataclasses.asdict(found).items():
        assert type(value) in (int, float, bool, str), name


def test_image_folders_stand_in_for_published_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for part in ("train", "test"):
        for name in ("cat", "dog"):
            place = tmp_path / "sets" / "cifar10" / part / name
            place.mkdir(parents=True)
            for k in range(12):
                pixels = rng.integers(0, 256, (32, 32, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(place / f"{k}.png")
    mapping = {
        "study": "t",
        "data_root": "sets",
        "datasets": {"cifar10": {}, "mnist": {}},
        "survey": [{"search": "rows", "rows": [{"batch_size": 8}]}],
        "measures": {"ellipses": {"share": 0}, "transitions": {"points": 20, "least": 25}},
    }
    study = config.load(mapping)
    assert study.source("mnist") is None
    assert study.source("cifar10").folder == "sets/cifar10"
    facts = study.facts("cifar10")
    assert (facts.train_size, facts.classes, facts.flip, facts.max_shift) == (24, 2, True, 4)
    # where published files are there, they count
    (tmp_path / "sets" / "cifar-10-batches-py").mkdir()
    assert config.load(mapping).source("cifar10") is None
    assert config.load(mapping).facts("cifar10") == KNOWN["cifar10"]


def test_test_images_that_are_training_images_too_are_told(capsys):
    arrays()
    facts(arrays="mine.npz")
    assert "WARNING" not in capsys.readouterr().err
    with np.load("mine.npz") as kept:
        whole = dict(kept)
    whole["test_images"][:2] = whole["train_images"][3:5]
    np.savez("both.npz", **whole)
    count = len(whole["test_images"])
    facts(arrays="both.npz")
    told = capsys.readouterr().err
    assert f"WARNING: 2 of {count} test images of mine are training images too" in told
    # known from the first look: it is said once
    again(arrays="both.npz")
    assert "WARNING" not in capsys.readouterr().err
