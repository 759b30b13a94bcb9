"""The part of SARIF 2.1.0 that the audit writes, as a strict JSON schema: nothing else may appear.

Transcribed from the definitions of the specification
(https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/sarif-v2.1.0-os.html, sections 3.13 to 3.52).
"""


def closed(required=(), **properties):
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


STRING = {"type": "string"}
BAG = {"type": "object", "properties": {"tags": {"type": "array", "items": STRING, "uniqueItems": True}}}
POSITIVE = {"type": "integer", "minimum": 1}
MESSAGE = closed(["text"], text=STRING, markdown=STRING)
REGION = closed(["startLine"], startLine=POSITIVE, startColumn=POSITIVE, endLine=POSITIVE, endColumn=POSITIVE)
ARTIFACT = closed(["uri"], uri={"type": "string", "pattern": r"^[^\s\\]*$"}, uriBaseId=STRING)
PHYSICAL = closed(["artifactLocation"], artifactLocation=ARTIFACT, region=REGION)
LOGICAL = closed(fullyQualifiedName=STRING)
LOCATION = closed(
    id={"type": "integer", "minimum": -1},
    physicalLocation=PHYSICAL,
    logicalLocations={"type": "array", "items": LOGICAL, "uniqueItems": True},
    message=MESSAGE,
)
RULE = closed(
    ["id"], id=STRING, name=STRING, shortDescription=MESSAGE, fullDescription=MESSAGE, help=MESSAGE,
    helpUri={"type": "string", "pattern": "^https://"}, properties=BAG,
)  # fmt: skip
DRIVER = closed(
    ["name"], name=STRING, semanticVersion=STRING, informationUri=STRING,
    rules={"type": "array", "items": RULE, "uniqueItems": True},
)  # fmt: skip
RESULT = closed(
    ["message"], ruleId=STRING, ruleIndex={"type": "integer", "minimum": -1},
    level={"enum": ["none", "note", "warning", "error"]}, message=MESSAGE,
    locations={"type": "array", "items": LOCATION},
    relatedLocations={"type": "array", "items": LOCATION, "uniqueItems": True},
    partialFingerprints={"type": "object", "additionalProperties": STRING}, properties=BAG,
)  # fmt: skip
BASE = {"type": "object", "additionalProperties": closed(uri=STRING, description=MESSAGE)}
RUN = closed(
    ["tool"], tool=closed(["driver"], driver=DRIVER),
    columnKind={"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
    originalUriBaseIds=BASE,
    results={"type": "array", "items": RESULT},
)  # fmt: skip
LOG = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "properties": {"$schema": STRING, "version": {"const": "2.1.0"}, "runs": {"type": "array", "items": RUN}},
    "required": ["version", "runs"],
    "additionalProperties": False,
}
