"""The words of the synthetic notes: conditions, histories, places, sentence skeletons. No patient exists.

Plausible enough to exercise a model, never advice: pairings of finding, drug and condition are simplified.
"""

from __future__ import annotations

from typing import NamedTuple


class Condition(NamedTuple):
    """One problem with what may bring it to light. ``{n}`` in a finding is drawn from the range behind it."""

    problem: str
    complaints: tuple[str, ...]
    findings: tuple[tuple[str, tuple[int, int] | None], ...]
    treatments: tuple[str, ...]


def _condition(problem: str, complaints: str, findings: tuple, treatments: str) -> Condition:
    ranged = tuple((f, None) if isinstance(f, str) else f for f in findings)
    return Condition(problem, tuple(complaints.split(", ")), ranged, tuple(treatments.split(", ")))


# Conditions that gold, transfer and held-out notes draw from.
SEEN = (
    _condition(
        "pneumonia",
        "cough, fever and breathlessness",
        ("lower lobe consolidation", ("CRP {n}", (90, 380))),
        "ceftriaxone, amoxicillin, doxycycline",
    ),
    _condition(
        "pulmonary embolism",
        "sudden breathlessness, sharp chest pain",
        ("segmental filling defect", ("D-dimer {n}", (1200, 9800))),
        "apixaban, enoxaparin, heparin",
    ),
    _condition(
        "myocardial infarction",
        "crushing chest pain, jaw pain",
        ("ST elevation", ("troponin {n}", (210, 4800))),
        "aspirin, ticagrelor, alteplase",
    ),
    _condition(
        "heart failure",
        "swollen ankles, breathlessness lying flat",
        ("bilateral pleural effusions", ("BNP {n}", (900, 4600))),
        "furosemide, spironolactone, bisoprolol",
    ),
    _condition(
        "atrial fibrillation",
        "palpitations, light-headedness",
        ("irregularly irregular rhythm", ("ventricular rate {n}", (118, 176))),
        "metoprolol, diltiazem, digoxin",
    ),
    _condition(
        "ischaemic stroke",
        "facial droop, slurred speech",
        ("left hemispheric infarct", ("NIHSS score {n}", (5, 21))),
        "tenecteplase, clopidogrel",
    ),
    _condition(
        "status epilepticus",
        "repeated seizures, prolonged convulsion",
        ("generalised spike waves", ("lactate {n}", (5, 14))),
        "lorazepam, levetiracetam, phenytoin",
    ),
    _condition(
        "bacterial meningitis",
        "headache and neck stiffness, photophobia",
        ("cloudy spinal fluid", ("CSF white cells {n}", (400, 3900))),
        "cefotaxime, dexamethasone",
    ),
    _condition(
        "pyelonephritis",
        "flank pain, fever and rigors",
        ("nitrite positive urine", ("white cell count {n}", (13, 24))),
        "gentamicin, ciprofloxacin",
    ),
    _condition(
        "renal colic",
        "loin to groin pain, blood in the urine",
        ("distal ureteric stone", ("stone of {n} mm", (3, 9))),
        "diclofenac, tamsulosin",
    ),
    _condition(
        "acute kidney injury",
        "poor urine output, vomiting",
        ("raised urea", ("creatinine {n}", (210, 780))),
        "intravenous saline, calcium gluconate",
    ),
    _condition(
        "diabetic ketoacidosis",
        "thirst and vomiting, drowsiness",
        ("ketones strongly positive", ("glucose {n}", (18, 41))),
        "insulin infusion, potassium replacement",
    ),
    _condition(
        "hyponatraemia",
        "confusion, unsteady gait",
        ("low serum osmolality", ("sodium {n}", (104, 121))),
        "fluid restriction, hypertonic saline",
    ),
    _condition(
        "thyrotoxicosis",
        "tremor and sweating, weight loss",
        ("suppressed TSH", ("free T4 {n}", (38, 92))),
        "carbimazole, propranolol",
    ),
    _condition(
        "acute pancreatitis",
        "epigastric pain to the back, upper abdominal pain",
        ("peripancreatic fluid", ("lipase {n}", (900, 6400))),
        "morphine, Hartmann solution",
    ),
    _condition(
        "cholecystitis",
        "right upper quadrant pain, pain after meals",
        ("thickened gallbladder wall", ("bilirubin {n}", (30, 120))),
        "piperacillin, co-amoxiclav",
    ),
    _condition(
        "appendicitis",
        "right iliac fossa pain, migrating abdominal pain",
        ("dilated appendix", ("neutrophils {n}", (11, 22))),
        "appendicectomy, cefuroxime",
    ),
    _condition(
        "upper gastrointestinal bleeding",
        "black stools, vomiting blood",
        ("bleeding duodenal ulcer", ("haemoglobin {n}", (52, 84))),
        "pantoprazole, terlipressin",
    ),
    _condition(
        "ulcerative colitis flare",
        "bloody diarrhoea, cramps and urgency",
        ("continuous mucosal ulceration", ("calprotectin {n}", (600, 2900))),
        "hydrocortisone, mesalazine, infliximab",
    ),
    _condition(
        "deep vein thrombosis",
        "swollen calf, leg pain",
        ("femoral vein clot", ("calf difference of {n} cm", (3, 8))),
        "rivaroxaban, dalteparin",
    ),
    _condition(
        "cellulitis",
        "hot red leg, spreading redness",
        ("tender erythema", ("lesion of {n} cm", (6, 28))),
        "flucloxacillin, clindamycin",
    ),
    _condition(
        "septic arthritis",
        "hot swollen knee, inability to walk",
        ("turbid joint aspirate", ("ESR {n}", (60, 118))),
        "vancomycin, joint washout",
    ),
    _condition(
        "gout",
        "painful big toe, swollen foot",
        ("needle-shaped crystals", ("urate {n}", (480, 760))),
        "colchicine, naproxen",
    ),
    _condition(
        "hip fracture",
        "groin pain after a fall, inability to stand",
        ("displaced femoral neck", ("leg shortened by {n} mm", (8, 34))),
        "hemiarthroplasty, fascia iliaca block",
    ),
    _condition(
        "anaphylaxis",
        "wheeze and hives, lip swelling",
        ("angioedema of the tongue", ("tryptase {n}", (24, 96))),
        "adrenaline, chlorphenamine",
    ),
    _condition(
        "iron deficiency anaemia",
        "tiredness, pallor",
        ("hypochromic red cells", ("ferritin {n}", (2, 9))),
        "ferrous sulfate, iron infusion",
    ),
    _condition(
        "immune thrombocytopenia",
        "easy bruising, nosebleeds",
        ("petechiae on both shins", ("platelets {n}", (3, 26))),
        "prednisolone, immunoglobulin",
    ),
    _condition(
        "panic disorder",
        "racing thoughts, tingling fingers",
        ("respiratory alkalosis", ("GAD-7 score {n}", (12, 21))),
        "sertraline, breathing retraining",
    ),
)

# Conditions that no model was trained on: the slice that shows what was learnt beyond the words.
UNSEEN = (
    _condition(
        "myasthenia gravis",
        "drooping eyelids, weak swallowing",
        ("decremental nerve response", ("vital capacity {n}", (9, 19))),
        "pyridostigmine, plasma exchange",
    ),
    _condition(
        "aortic dissection",
        "tearing back pain, collapse with chest pain",
        ("intimal flap", ("aortic diameter of {n} mm", (44, 71))),
        "labetalol, aortic root repair",
    ),
    _condition(
        "addisonian crisis",
        "dizziness on standing, salt craving",
        ("skin hyperpigmentation", ("cortisol {n}", (18, 76))),
        "fludrocortisone, dextrose infusion",
    ),
    _condition(
        "rhabdomyolysis",
        "muscle pain after exertion, dark urine",
        ("myoglobin in the urine", ("creatine kinase {n}", (9000, 88000))),
        "aggressive hydration, sodium bicarbonate",
    ),
    _condition(
        "acute glaucoma",
        "painful red eye, haloes around lights",
        ("fixed mid-dilated pupil", ("eye pressure {n}", (38, 66))),
        "acetazolamide, timolol",
    ),
    _condition(
        "malaria",
        "cyclical fever, shaking chills",
        ("ring forms on film", ("parasitaemia {n} percent", (2, 14))),
        "artesunate, artemether",
    ),
    _condition(
        "temporal arteritis",
        "scalp tenderness, jaw ache on chewing",
        ("thickened temporal artery", ("plasma viscosity {n}", (190, 260))),
        "methylprednisolone, tocilizumab",
    ),
    _condition(
        "carbon monoxide poisoning",
        "dull headache, nausea at home",
        ("cherry red mucosa", ("carboxyhaemoglobin {n}", (18, 44))),
        "high-flow oxygen, hyperbaric oxygen",
    ),
)

HISTORIES = (
    "asthma",
    "hypertension",
    "type 2 diabetes",
    "chronic kidney disease",
    "coronary bypass",
    "epilepsy",
    "rheumatoid arthritis",
    "Crohn disease",
    "breast cancer",
    "prostate cancer",
    "liver cirrhosis",
    "COPD",
    "sleep apnoea",
    "depression",
    "migraine",
    "hypothyroidism",
    "osteoporosis",
    "psoriasis",
    "sickle cell trait",
    "kidney transplant",
    "multiple sclerosis",
    "Parkinson disease",
    "pacemaker",
    "alcohol dependence",
)

DISPOSITIONS = (
    "medical ward",
    "surgical ward",
    "intensive care",
    "high dependency unit",
    "cardiac care unit",
    "stroke unit",
    "short stay unit",
    "day hospital",
    "rehabilitation centre",
    "home with GP review",
    "home with clinic review",
    "home with district nurse",
    "virtual ward",
    "hospital at home",
    "isolation room",
)

SEXES = ("man", "woman")
DURATIONS = ("{n} hours", "{n} days", "{n} weeks")
EXAMINATIONS = (
    "abdomen soft",
    "chest clear",
    "heart sounds normal",
    "no rash",
    "pupils equal",
    "calves soft",
    "alert",
    "mucosa dry",
    "gait not tested",
    "no oedema",
)

# Sentence skeletons, one tuple per part of a note. Every skeleton has slots enough that none need repeat.
PRESENTATION = (
    "{age}-year-old {sex} with {history} presents with {duration} of {complaint}.",
    "{complaint} for {duration} in a {age}-year-old {sex} known to have {history}.",
    "This {sex}, aged {age}, has had {complaint} for {duration}; background of {history}.",
    "Background: {history}. {age}-year-old {sex} referred for {complaint} over {duration}.",
    "Seen today: {sex} of {age}, {duration} of {complaint}, past history {history}.",
    "A {age}-year-old {sex} ({history}) came in after {duration} of {complaint}.",
)
OBSERVATIONS = (
    "BP {bp}, pulse {pulse}, {exam}.",
    "On examination {exam}; pulse {pulse}, BP {bp}.",
    "Observations: pulse {pulse}, temperature {temp}, {exam}.",
    "Temp {temp}, BP {bp}, {exam}.",
    "{exam}, with BP {bp} and temperature {temp}.",
)
ASSESSMENT = (
    "Tests show {finding}, so {problem} was diagnosed and {treatment} {dose} started at {time}.",
    "{finding} at {time} points to {problem}; given {treatment} {dose}.",
    "Working diagnosis {problem} ({finding}). {treatment} {dose} begun at {time}.",
    "At {time}, {finding} confirmed {problem}. We gave {treatment} {dose}.",
    "{treatment} {dose} was given at {time} for {problem}, given {finding}.",
    "Result of {time}: {finding}. This is {problem}, treated with {treatment} {dose}.",
)
PLAN = (
    "Next: {disposition}, reassess in {n} hours, bleep {bleep}.",
    "Plan is {disposition}; contact {bleep}; repeat bloods in {n} hours.",
    "Will go to {disposition} under team {bleep} after {n} hours.",
    "Bed request {bleep}: {disposition} within {n} hours.",
    "After {n} hours here: {disposition}, handover number {bleep}.",
)
DOSES = ("first dose", "loading dose", "standard dose", "reduced dose", "per protocol", "after consent")

# Words a summary may use that state no fact of a note.
PLAIN = """
a about admission admitted after age aged also an and are as at be because been before being both but by came
care case clinical complaint complained condition current currently diagnosed diagnosis discharge discharged
disposition due during examination experienced experiencing female finding findings followed following for found
from further gave given had has have he her his history hospital hour hours i if in including into is it its key
kept known last line list main male man medical medication monitored months needs next no normal not note noted of
old on one or over past patient person plan point points presentation presented presenting presents problem received
referred reported reports result results sex she showed showing shown since started status suffered suffering
summary symptoms taken test tests that the their there they this time to today transferred treated treatment under
underwent was week weeks well were when where which who with woman years year gender
"""
