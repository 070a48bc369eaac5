"""A Kerberos client for SASL GSSAPI (RFC 4752) that can bind its context to a channel.

What curl and fetchmail do not: they bind to nothing.  By ctypes on MIT's library.
"""
import base64
import ctypes
import os
from unittest import mock

try:
    LIB = ctypes.CDLL("libgssapi_krb5.so.2")
except OSError:
    LIB = None

MUTUAL, SEQUENCE, INTEGRITY = 2, 8, 32
COMPLETE, CONTINUE = 0, 1
NO_LAYER = b"\1\0\0\0"


class Buffer(ctypes.Structure):
    _fields_ = [("length", ctypes.c_size_t), ("value", ctypes.c_void_p)]

    @classmethod
    def of(cls, octets):
        made = cls(len(octets), ctypes.cast(ctypes.c_char_p(octets), ctypes.c_void_p))
        made.kept = octets
        return made

    def take(self):
        octets = ctypes.string_at(self.value, self.length) if self.length else b""
        LIB.gss_release_buffer(ctypes.byref(ctypes.c_uint32()), ctypes.byref(self))
        return octets


class Bindings(ctypes.Structure):
    _fields_ = [("initiator_addrtype", ctypes.c_uint32), ("initiator_address", Buffer),
                ("acceptor_addrtype", ctypes.c_uint32), ("acceptor_address", Buffer),
                ("application_data", Buffer)]


def checked(what, major):
    if major not in (COMPLETE, CONTINUE):
        raise AssertionError("%s: GSS status %#x" % (what, major))
    return major


class Initiator:
    """One context, with the ticket that env tells of."""

    def __init__(self, env, service="pop@localhost", binding=None):
        self.env = env
        self.context = ctypes.c_void_p()
        self.target = ctypes.c_void_p()
        self.minor = ctypes.c_uint32()
        self.bindings = None
        if binding is not None:
            self.bindings = Bindings()
            self.bindings.application_data = Buffer.of(binding)
            self.binding = binding  # the structure has its address alone
        kind = ctypes.c_void_p.in_dll(LIB, "GSS_C_NT_HOSTBASED_SERVICE")
        name = Buffer.of(service.encode())
        checked("import", LIB.gss_import_name(ctypes.byref(self.minor), ctypes.byref(name), kind,
                                              ctypes.byref(self.target)))

    def step(self, token):
        """The next token; the library reads its settings from the environment."""
        given, out = Buffer.of(token), Buffer()
        mechanism = ctypes.c_void_p.in_dll(LIB, "gss_mech_krb5")
        with mock.patch.dict(os.environ, self.env):
            checked("init", LIB.gss_init_sec_context(
                ctypes.byref(self.minor), None, ctypes.byref(self.context), self.target, mechanism,
                ctypes.c_uint32(MUTUAL | SEQUENCE | INTEGRITY), ctypes.c_uint32(0),
                ctypes.byref(self.bindings) if self.bindings else None, ctypes.byref(given), None,
                ctypes.byref(out), None, None))
        return out.take()

    def unwrap(self, token):
        given, out = Buffer.of(token), Buffer()
        checked("unwrap", LIB.gss_unwrap(ctypes.byref(self.minor), self.context,
                                         ctypes.byref(given), ctypes.byref(out), None, None))
        return out.take()

    def wrap(self, text):
        given, out = Buffer.of(text), Buffer()
        checked("wrap", LIB.gss_wrap(ctypes.byref(self.minor), self.context, 0, ctypes.c_uint32(0),
                                     ctypes.byref(given), None, ctypes.byref(out)))
        return out.take()

    def close(self):
        LIB.gss_delete_sec_context(ctypes.byref(self.minor), ctypes.byref(self.context), None)
        LIB.gss_release_name(ctypes.byref(self.minor), ctypes.byref(self.target))


def challenge(answer):
    return base64.b64decode(answer[2:-2], validate=True)


def login(ask, env, binding=None, authzid=b""):
    """AUTH GSSAPI by a function that sends a line and gives the answer; the last answer."""
    made = Initiator(env, binding=binding)
    try:
        answer = ask("AUTH GSSAPI " + base64.b64encode(made.step(b"")).decode())
        if not answer.startswith(b"+ "):
            return answer
        made.step(challenge(answer))
        answer = ask("")
        if not answer.startswith(b"+ "):
            return answer
        offer = made.unwrap(challenge(answer))
        if offer != NO_LAYER:
            raise AssertionError("the server offers %r" % offer)
        return ask(base64.b64encode(made.wrap(NO_LAYER + authzid)).decode())
    finally:
        made.close()
