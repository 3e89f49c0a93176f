"""botocore's own model of a service, CodePipeline if nobody says: what a value of a shape looks like, a sample of it, and every way to break it.

Must not know the server, or how a value is written on the wire."""

import re

import botocore.loaders
import botocore.model



def service(name):
    return botocore.model.ServiceModel(botocore.loaders.Loader().load_service_model(name, "service-2"), name)


SERVICE = service("codepipeline")


def speak(name):
    """From now on it is about this service."""
    global SERVICE
    SERVICE = service(name)


class Timestamp(float):
    """A point in time as CBOR writes it: tag 1."""


def operation(name):
    return SERVICE.operation_model(name)


def errors_of(operation_model):
    """The modelled errors of an operation: their codes with their HTTP status."""
    shapes = operation_model.error_shapes
    return {shape.name: shape.metadata.get("error", {}).get("httpStatusCode", 400) for shape in shapes}


def problems(shape, value, path=""):
    """All that makes a value none of the shape."""
    at = path or shape.name
    kinds = {
        "structure": dict, "map": dict, "list": list, "string": str, "timestamp": (int, float), "integer": int,
        "long": int, "boolean": bool,
    }
    if not isinstance(value, kinds[shape.type_name]) or isinstance(value, bool) != (shape.type_name == "boolean"):
        yield f"{at}: {value!r} is no {shape.type_name}"
        return
    if isinstance(value, Timestamp) and shape.type_name != "timestamp":
        yield f"{at}: a timestamp where a {shape.type_name} is needed"
    yield from constraints(shape, value, at)
    if shape.type_name == "structure":
        for name in shape.required_members:
            if name not in value:
                yield f"{at}: {name} is required and missing"
        for name, member in value.items():
            if name in shape.members:
                yield from problems(shape.members[name], member, f"{at}.{name}")
            else:
                yield f"{at}: {shape.name} has no member {name}"
    elif shape.type_name == "list":
        for index, item in enumerate(value):
            yield from problems(shape.member, item, f"{at}[{index}]")
    elif shape.type_name == "map":
        for key, item in value.items():
            yield from problems(shape.key, key, f"{at} (key)")
            yield from problems(shape.value, item, f"{at}.{key}")


def constraints(shape, value, at):
    size = value if shape.type_name in ("integer", "long") else len(value) if hasattr(value, "__len__") else None
    if size is not None and size < shape.metadata.get("min", size):
        yield f"{at}: {size} is less than {shape.metadata['min']}"
    if size is not None and size > shape.metadata.get("max", size):
        yield f"{at}: {size} is more than {shape.metadata['max']}"
    if shape.type_name != "string":
        return
    if shape.enum and value not in shape.enum:
        yield f"{at}: {value!r} is none of {', '.join(shape.enum)}"
    pattern = pattern_of(shape)
    if pattern and not re.fullmatch(pattern, value):
        yield f"{at}: {value!r} does not match {pattern}"


def pattern_of(shape):
    """Classes of Unicode are more than Python's expressions know, and all that a sample has is in them."""
    pattern = shape.metadata.get("pattern")
    return None if pattern and r"\p{" in pattern else pattern


UUID = "0f0e0d0c-0b0a-4908-8706-050403020100"
# One of them is a value of every string of the model's inputs.
TEXTS = [
    "a", "abcd", "AWS", UUID, "000000000000", "arn:aws:iam::000000000000:role/a",
    "arn:aws:codepipeline:us-east-1:000000000000:a", "arn:aws:lambda:us-east-1:000000000000:function:a",
]


def sample(shape):
    """A value that has every member, as the shape alone allows it."""
    if shape.type_name == "structure":
        return {name: sample(member) for name, member in shape.members.items()}
    if shape.type_name == "list":
        return [sample(shape.member)]
    if shape.type_name == "map":
        return {sample(shape.key): sample(shape.value)}
    if shape.type_name in ("integer", "long"):
        return shape.metadata.get("min", 1)
    if shape.type_name == "timestamp":
        return 1795342830.5
    if shape.type_name == "boolean":
        return True
    texts = list(shape.enum) or TEXTS
    return next(text for text in texts if not list(constraints(shape, text, "")))


WRONG_TYPE = {
    "structure": "text", "list": {}, "map": [], "string": 7, "integer": "1", "long": "1", "boolean": "true",
    "timestamp": "1970-01-01T00:00:00Z",
}


def breakages(shape, value, path=()):
    """Every way to break one constraint of a sample: the broken value, whether only its type is wrong, and where AWS says
    that it is broken."""
    if shape.type_name == "structure":
        for name, member in shape.members.items():
            if name in shape.required_members:
                for broken in ({k: v for k, v in value.items() if k != name}, {**value, name: None}):
                    yield broken, False, (*path, name)
            for broken, is_type, at in breakages(member, value[name], (*path, name)):
                yield {**value, name: broken}, is_type, at
    elif shape.type_name == "list":
        inner = (*path, "1", "member") if shape.member.type_name in ("structure", "map", "list") else path
        for broken, is_type, at in breakages(shape.member, value[0], inner):
            yield [broken], is_type, at
        yield from ((size, False, path) for size in wrong_sizes(shape, lambda count: [value[0]] * count))
    elif shape.type_name == "map":
        (key, item), = value.items()
        for broken in wrong_texts(shape.key):
            yield {broken: item}, False, path
        inner = (*path, key, "member") if shape.value.type_name == "structure" else path
        for broken, is_type, at in breakages(shape.value, item, inner):
            yield {key: broken}, is_type, at
        yield from ((size, False, path) for size in wrong_sizes(shape, lambda n: {f"{key}{i}": item for i in range(n)}))
    elif shape.type_name == "string":
        yield from ((broken, False, path) for broken in wrong_texts(shape))
    elif shape.type_name in ("integer", "long"):
        low, high = shape.metadata.get("min"), shape.metadata.get("max")
        if low is not None:
            yield low - 1, False, path
        if high is not None:
            yield high + 1, False, path
        yield 1.5, True, path
    if path:
        yield WRONG_TYPE[shape.type_name], True, path


def wrong_sizes(shape, of_size):
    low, high = shape.metadata.get("min", 0), shape.metadata.get("max")
    if low > 0:
        yield of_size(low - 1)
    if high is not None:
        yield of_size(high + 1)


def wrong_texts(shape):
    if shape.enum:
        yield "nonsense"
        return
    yield from wrong_sizes(shape, lambda length: "a" * length)
    low, pattern = shape.metadata.get("min", 0), pattern_of(shape)
    if pattern:
        yield next(text for text in ("\n" * max(low, 1), "!" * max(low, 1)) if not re.fullmatch(pattern, text))


def self_check(operations, breakages_min=1000):
    """The judge itself: a sample has no problems, and each breakage has one (a null is told as a wrong type)."""
    told = 0
    for name in operations:
        shape = operation(name).input_shape
        value = sample(shape)
        assert not list(problems(shape, value)), (name, list(problems(shape, value)))
        for broken, _, at in breakages(shape, value):
            assert list(problems(shape, broken)), f"{name}: {'.'.join(at)} was broken and nobody noticed: {broken}"
            told += 1
        assert list(problems(shape, {**value, "unknown": 1})), f"{name}: nobody noticed an unknown member"
    assert told > breakages_min, told
