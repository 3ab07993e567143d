"""A Modbus server on pymodbus: an independent peer of the gateway's end-to-end tests.

    pymodbus_server.py tcp|rtu-over-tcp UNIT...
    pymodbus_server.py rtu PATH UNIT...            on a serial port, 9600 8N1; prints "port 0"

Prints "port N" when it listens on 127.0.0.1. Then takes one command per line on stdin and answers each with "ok":

    UNIT input|holding|discrete|coil ADDRESS VALUE...
    silent on|off      requests are taken and not answered; connections stay open
    unplug | plug      stops listening and drops every connection | comes back on the same port

Ends when stdin closes. Addresses are protocol addresses, from 0.
"""

import asyncio
import sys

from pymodbus.datastore import ModbusDeviceContext, ModbusSequentialDataBlock, ModbusServerContext
from pymodbus.framer import FramerType
from pymodbus.server import ModbusSerialServer, ModbusTcpServer

CELLS = 0xA800
TABLES = {"coil": 1, "discrete": 2, "holding": 3, "input": 4}  # by function code that reads them
FRAMERS = {"tcp": FramerType.SOCKET, "rtu-over-tcp": FramerType.RTU, "rtu": FramerType.RTU}


class Peer:
    def __init__(self, framer: FramerType, path: str | None, units: list[int]) -> None:
        self.framer, self.path = framer, path
        # A block that starts at 1 is what pymodbus means by protocol address 0.
        self.units = {
            unit: ModbusDeviceContext(
                di=ModbusSequentialDataBlock(1, [0] * CELLS),
                co=ModbusSequentialDataBlock(1, [0] * CELLS),
                hr=ModbusSequentialDataBlock(1, [0] * CELLS),
                ir=ModbusSequentialDataBlock(1, [0] * CELLS),
            )
            for unit in units
        }
        self.silent = False
        self.port = 0
        self.server: ModbusTcpServer | ModbusSerialServer | None = None

    def trace(self, sending: bool, packet: bytes) -> bytes:
        return b"" if sending and self.silent else packet

    async def plug(self) -> None:
        context = ModbusServerContext(devices=self.units, single=False)
        if self.path:
            self.server = ModbusSerialServer(
                context,
                framer=self.framer,
                port=self.path,
                baudrate=9600,
                ignore_missing_devices=True,
                trace_packet=self.trace,
            )
            await self.server.serve_forever(background=True)
            return
        self.server = ModbusTcpServer(
            context,
            framer=self.framer,
            address=("127.0.0.1", self.port),
            ignore_missing_devices=True,
            trace_packet=self.trace,
        )
        await self.server.serve_forever(background=True)
        self.port = self.server.transport.sockets[0].getsockname()[1]

    async def unplug(self) -> None:
        await self.server.shutdown()

    async def obey(self, line: str) -> None:
        match line.split():
            case ["silent", word]:
                self.silent = word == "on"
            case ["unplug"]:
                await self.unplug()
            case ["plug"]:
                await self.plug()
            case [unit, table, address, *values]:
                numbers = [int(value) & 0xFFFF if table in ("input", "holding") else value == "1" for value in values]
                self.units[int(unit)].setValues(TABLES[table], int(address), numbers)
            case _:
                raise ValueError(line)


async def main() -> None:
    transport, *rest = sys.argv[1:]
    path = rest.pop(0) if transport == "rtu" else None
    peer = Peer(FRAMERS[transport], path, [int(unit) for unit in rest])
    await peer.plug()
    print(f"port {peer.port}", flush=True)
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    while line := await commands.readline():
        await peer.obey(line.decode().strip())
        print("ok", flush=True)


asyncio.run(main())
