"""Names of classes as codes that DICOM knows."""

from __future__ import annotations

import pytest

from napari_sam.files.medical.codes import LEFT, RIGHT, TISSUE, TYPES, Code, coded


def test_all_codes_are_those_of_dicom() -> None:
    concepts = pytest.importorskip("pydicom.sr._concepts_dict").concepts["SCT"]
    known: dict[str, set[str]] = {}
    for names in concepts.values():
        for value, (meaning, _) in names.items():
            known.setdefault(value, set()).add(meaning.lower())
    for category, kind in TYPES.values():
        assert category.meaning.lower() in known[category.value]
        assert kind.meaning.lower() in known[kind.value]
    assert "left" in known[LEFT.value]
    assert "right" in known[RIGHT.value]


@pytest.mark.parametrize(
    ("name", "meaning", "side"),
    [
        ("spleen", "Spleen", None),
        ("Right kidney", "Kidney", RIGHT),
        ("lung_upper_lobe_left", "Upper lobe of lung", LEFT),
        ("heart_atrium_left", "Left atrium", None),
        ("rib_right", "Rib", RIGHT),
        ("Tumour", "Neoplasm", None),
        ("vertebrae_T12", "T12 vertebra", None),
        ("adrenal glands", "Adrenal gland", None),
        ("left and right", "Tissue", None),
        ("thing left", "Tissue", LEFT),
        ("Leber", "Tissue", None),
        ("", "Tissue", None),
        (None, "Tissue", None),
    ],
)
def test_names_are_understood_as_people_write_them(
    name: str | None, meaning: str, side: Code | None
) -> None:
    found = coded(name)
    assert found.type.meaning == meaning
    assert found.side == side
    assert found.category != found.type or found.type == TISSUE
