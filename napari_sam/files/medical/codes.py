"""Names of tissues and organs as codes of SNOMED CT, which DICOM wants for every segment.

The codes are those that DICOM itself uses, in the context groups of its part 16 [1]_; DICOM may
be implemented with them everywhere, without a licence of SNOMED's own.

References
----------
.. [1] DICOM PS3.16, "Content Mapping Resource", e.g. CID 7150, 7151, 7166 and 4031
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

__all__ = ["ANATOMICAL_STRUCTURE", "LEFT", "RIGHT", "TISSUE", "TYPES", "Code", "Coded", "coded"]


@dataclass(frozen=True)
class Code:
    """A concept of SNOMED CT.

    Parameters
    ----------
    value : str
        Its number.
    meaning : str
        Its name in DICOM.
    """

    value: str
    meaning: str


@dataclass(frozen=True)
class Coded:
    """What a segment is.

    Parameters
    ----------
    category : Code
        Of CID 7150.
    type : Code
        More precisely, what.
    side : Code or None
        `LEFT` or `RIGHT` of the patient, where the name says it.
    """

    category: Code
    type: Code
    side: Code | None = None


TISSUE = Code("85756007", "Tissue")
ANATOMICAL_STRUCTURE = Code("91723000", "Anatomical Structure")
_ABNORMAL = Code("49755003", "Morphologically Abnormal Structure")
_SUBSTANCE = Code("91720002", "Body Substance")
LEFT, RIGHT = Code("7771000", "Left"), Code("24028007", "Right")

_ANATOMY = """
23451007 Adrenal gland = suprarenal gland
15825003 Aorta
66754008 Appendix
12691009 brachiocephalic trunk = innominate artery
12738006 Brain
76752008 Breast
955009 Bronchus = bronchi
69105007 Carotid artery
113305005 Cerebellum
51299004 Clavicle = clavicula
71854001 Colon
32062004 Common carotid artery
10293006 Iliac artery
73634005 Common iliac artery
46027005 Common iliac vein
28726007 Cornea
5798000 Diaphragm
38848004 Duodenum
32849002 Esophagus = oesophagus
81745001 Eye
79652003 Eyeball
71341001 Femur
87342007 Fibula
28231008 Gallbladder = gall bladder
389081007 Gray matter = grey matter
80891009 Heart
29836001 Hip
5366008 Hippocampus
85050009 Humerus
244411005 Iliac vein = iliac vena
64131007 Inferior vena cava
64033007 Kidney
14742008 Large intestine = large bowel
4596009 Larynx
82471001 Left atrium = heart atrium left
87878005 Left ventricle = heart ventricle left
78076003 Lens = eye lens
10200004 Liver
39607008 Lung
90572001 Lower lobe of lung = lung lower lobe
72481006 Middle lobe of right lung = lung middle lobe right
45653009 Upper lobe of lung = lung upper lobe
91609006 Mandible
70925003 Maxilla
244453006 Optic chiasm
18234004 optic nerve
15497006 Ovary = ovaries
15776009 Pancreas
45289007 Parotid gland = parotid
64234005 Patella
816092008 Pelvis
54066008 Pharynx
56329008 Pituitary = pituitary gland
78067005 Placenta
32764006 Portal vein
41216001 Prostate = prostate gland
81040000 Pulmonary artery
122972007 Pulmonary vein
131190003 Radius
34402009 Rectum
5665001 Retina
113197003 Rib
73829009 Right atrium = heart atrium right
53085002 Right ventricle = heart ventricle right
54735007 Sacrum = vertebrae s1
79601000 Scapula
89546000 Skull
30315005 Small intestine = small bowel
2748008 Spinal cord
421060004 Spine
78961009 Spleen
35819009 Splenic vein
56873002 Sternum
69695003 Stomach
36765005 Subclavian artery
54019009 Submandibular gland
48345005 Superior vena cava
40689003 Testis = testicle
42695009 Thalamus
69748006 Thyroid = thyroid gland
12611008 Tibia
21974007 Tongue
38199008 Tooth = teeth
44567001 Trachea
23416004 Ulna
87953007 Ureter
89837001 Bladder = urinary bladder
35039007 Uterus
51282000 Vertebra = vertebrae
389080008 White matter
14806007 C1 vertebra = vertebrae c1
39976000 C2 vertebra = vertebrae c2
113205007 C3 vertebra = vertebrae c3
5329002 C4 vertebra = vertebrae c4
36978003 C5 vertebra = vertebrae c5
36054005 C6 vertebra = vertebrae c6
87391001 C7 vertebra = vertebrae c7
64864005 T1 vertebra = vertebrae t1
53733008 T2 vertebra = vertebrae t2
1626008 T3 vertebra = vertebrae t3
73071006 T4 vertebra = vertebrae t4
56401006 T5 vertebra = vertebrae t5
45296009 T6 vertebra = vertebrae t6
62487009 T7 vertebra = vertebrae t7
11068009 T8 vertebra = vertebrae t8
82687006 T9 vertebra = vertebrae t9
7610001 T10 vertebra = vertebrae t10
12989004 T11 vertebra = vertebrae t11
23215003 T12 vertebra = vertebrae t12
66794005 L1 vertebra = vertebrae l1
14293000 L2 vertebra = vertebrae l2
36470004 L3 vertebra = vertebrae l3
11994002 L4 vertebra = vertebrae l4
49668003 L5 vertebra = vertebrae l5
"""

_TISSUES = """
51114001 Artery = arteries
59820001 Blood vessel = vessel
272673000 Bone
309312004 Cartilage
256674009 Fat = adipose tissue
52082005 Ligament
59441001 Lymph node
71616004 Muscle
91728009 Nerve
91772007 Organ
39937001 Skin
13024002 Tendon
85756007 Tissue
29092000 Vein
"""

_ABNORMALITIES = """
367643001 Cyst
79654002 Edema = oedema
50960005 Hemorrhage = haemorrhage = bleeding
52988006 Lesion
4147007 Mass
6574001 Necrosis
108369006 Neoplasm = tumor = tumour
27925004 Nodule
396339007 Thrombus
"""

_FLUIDS = """
87612001 Blood
65216001 Cerebrospinal fluid = csf
"""


def coded(name: str | None) -> Coded:
    """Find what a class is: its words count, in any order, and "left" and "right".

    Parameters
    ----------
    name : str or None
        Of a class, as people and other programs write it.

    Returns
    -------
    Coded
        `TISSUE` where the name is none of `TYPES`.

    Examples
    --------
    >>> found = coded("kidney_left")
    >>> found.type, found.side.meaning
    (Code(value='64033007', meaning='Kidney'), 'Left')
    >>> coded("vertebrae_L1").type.meaning, coded("Lungs").type.meaning, coded("thing").type.meaning
    ('L1 vertebra', 'Lung', 'Tissue')
    """
    words = _words(name or "")
    side = {"left": LEFT, "right": RIGHT}
    sides = [side[word] for word in sorted(words.intersection(side))]
    for tried in (words, words.difference(side)):
        for known in (tried, frozenset(word.removesuffix("s") for word in tried)):
            if known in TYPES:
                category, kind = TYPES[known]
                told = tried != words and len(sides) == 1
                return Coded(category, kind, sides[0] if told else None)
    return Coded(TISSUE, TISSUE, sides[0] if len(sides) == 1 else None)


def _words(name: str) -> frozenset[str]:
    return frozenset(re.findall(r"[^\W_]+", name.lower())) - {"of"}


def _table(category: Code, lines: str) -> dict[frozenset[str], tuple[Code, Code]]:
    table = {}
    for line in lines.strip().splitlines():
        value, _, names = line.partition(" ")
        meaning, *others = names.split(" = ")
        for name in (meaning, *others):
            table[_words(name)] = (category, Code(value, meaning))
    return table


TYPES: Mapping[frozenset[str], tuple[Code, Code]] = MappingProxyType(
    _table(ANATOMICAL_STRUCTURE, _ANATOMY)
    | _table(TISSUE, _TISSUES)
    | _table(_ABNORMAL, _ABNORMALITIES)
    | _table(_SUBSTANCE, _FLUIDS)
)
"""Category and type by the words of a name."""
