import os

import pytest

from nvisa_tf.io.files import replacing, replacing_folder, write_text


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert temporary.suffix == ".json"
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["a.json"]


def test_an_error_keeps_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old\r\n")

    def interrupted():
        with replacing(path) as temporary:
            temporary.write_text("ne")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == b"old\r\n"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path):
    target = tmp_path / "site"
    for name in ("old", "new"):
        with replacing_folder(target) as temporary:
            (temporary / name).touch()
    assert os.listdir(target) == ["new"]

    def interrupted():
        with replacing_folder(target) as temporary:
            (temporary / "half").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert os.listdir(target) == ["new"]
    assert os.listdir(tmp_path) == ["site"]
