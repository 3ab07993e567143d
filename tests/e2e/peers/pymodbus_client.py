"""Reads registers with pymodbus: an independent client of the simulator.

    pymodbus_client.py tcp|rtu-over-tcp PORT

Takes a JSON list of [unit, table, first, kind, count] on stdin and prints one JSON list: for each either the list of values
or "exception N". Kinds: bit, s16, u16, s32, f32 (high word first), s32-low-first.
"""

import json
import sys

from pymodbus.client import ModbusTcpClient
from pymodbus.framer import FramerType

FRAMERS = {"tcp": FramerType.SOCKET, "rtu-over-tcp": FramerType.RTU}
KINDS = {"s16": ("INT16", 1), "u16": ("UINT16", 1), "s32": ("INT32", 2), "f32": ("FLOAT32", 2)}


def read(client, unit, table, first, kind, count):
    calls = {
        "coil": client.read_coils,
        "discrete": client.read_discrete_inputs,
        "holding": client.read_holding_registers,
        "input": client.read_input_registers,
    }
    word_order = "little" if kind.endswith("-low-first") else "big"
    name, words = KINDS.get(kind.removesuffix("-low-first"), (None, 1))
    answer = calls[table](first, count=count * words, device_id=unit)
    if answer.isError():
        return f"exception {answer.exception_code}"
    if name is None:
        return [int(bit) for bit in answer.bits[:count]]
    values = client.convert_from_registers(
        answer.registers, data_type=getattr(client.DATATYPE, name), word_order=word_order
    )
    return values if isinstance(values, list) else [values]


def main():
    client = ModbusTcpClient("127.0.0.1", port=int(sys.argv[2]), framer=FRAMERS[sys.argv[1]])
    assert client.connect()
    print(json.dumps([read(client, *wanted) for wanted in json.load(sys.stdin)]))
    client.close()


main()
