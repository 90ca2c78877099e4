"""Takes DSNs apart with libpq: one JSON string a line in, one JSON object of what was given out, null for one that is refused."""
import ctypes
import json
import sys


def library():
    """The first of the files named that can be loaded."""
    for name in sys.argv[1:]:
        try:
            return ctypes.CDLL(name)
        except OSError:
            pass
    sys.exit("no libpq")


libpq = library()


class Option(ctypes.Structure):
    _fields_ = [(name, ctypes.c_char_p) for name in ("keyword", "envvar", "compiled", "val", "label", "dispchar")]
    _fields_.append(("dispsize", ctypes.c_int))


libpq.PQconninfoParse.restype = ctypes.POINTER(Option)
libpq.PQconninfoParse.argtypes = [ctypes.c_char_p, ctypes.POINTER(ctypes.c_char_p)]
libpq.PQconninfoFree.argtypes = [ctypes.POINTER(Option)]

for line in sys.stdin:
    options = libpq.PQconninfoParse(json.loads(line).encode(), ctypes.byref(ctypes.c_char_p()))
    given = None
    if options:
        given, index = {}, 0
        while options[index].keyword is not None:
            if options[index].val is not None:
                given[options[index].keyword.decode()] = options[index].val.decode(errors="replace")
            index += 1
        libpq.PQconninfoFree(options)
    print(json.dumps(given))
