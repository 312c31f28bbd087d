"""A sealed file is taken as it was written, or not at all."""

import pytest
from damage import DAMAGES

from stages.core.seals import read_kept, seal, unsealed


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_sealed_file_is_deleted_with_a_line(tmp_path, capsys, damage):
    path = tmp_path / "kept"
    content = bytes(range(256)) * 9
    path.write_bytes(content + seal(content, "name"))
    assert read_kept(path, "name", "it is made again") == content
    DAMAGES[damage](path)
    assert read_kept(path, "name", "it is made again") is None
    assert capsys.readouterr().err == f"{path} is damaged: it is made again\n"
    assert not list(tmp_path.iterdir())
    assert read_kept(path, "name", "it is made again") is None and not capsys.readouterr().err


def test_every_flipped_bit_is_seen():
    content = b"0123456789"
    sealed = content + seal(content, "name")
    for bit in range(8 * len(sealed)):
        damaged = bytearray(sealed)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ValueError, match="is not as it was written"):
            unsealed(bytes(damaged), "name")
    with pytest.raises(ValueError, match="is not as it was written"):
        unsealed(sealed, "another name")
