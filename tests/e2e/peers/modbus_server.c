/* A Modbus server on libmodbus: an independent peer of the gateway's end-to-end tests.
 *
 *   modbus_server            Modbus TCP; prints "port N" when it listens
 *   modbus_server PATH       Modbus RTU on a serial port, 9600 8N1; prints "port 0" when it is open
 *
 * Then takes one command per line on stdin and answers each with "ok" or "error":
 *   [UNIT] input|holding ADDRESS VALUE     [UNIT] discrete|coil ADDRESS 0|1
 *   silent on|off                   silent: requests are read and not answered; connections stay open
 *   unplug                          stops listening and drops every connection; "plug" brings it back on the same port
 *   plug
 *   unit N                          RTU: from now on the device with this unit id answers, and no other
 * Ends when stdin closes. A unit that was never named answers with the registers set without one; as many connections as
 * select() takes.
 */
#include <errno.h>
#include <modbus.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <unistd.h>

enum { CELLS = 65536, UNITS = 248 };

static modbus_t *context;
/* The first is that of every unit which has none of its own. */
static modbus_mapping_t *units[UNITS];
static int serial = -1;
static fd_set watched;
static int listener = -1, highest, silent, port;

static void watch(int descriptor)
{
    FD_SET(descriptor, &watched);
    if (descriptor > highest)
        highest = descriptor;
}

static int plug(void)
{
    listener = modbus_tcp_listen(context, 8);
    if (listener < 0)
        return -1;
    watch(listener);
    return 0;
}

static void unplug(void)
{
    for (int descriptor = 3; descriptor <= highest; descriptor++) {
        if (FD_ISSET(descriptor, &watched)) {
            FD_CLR(descriptor, &watched);
            close(descriptor);
        }
    }
    listener = -1;
}

static modbus_mapping_t *cells_of(int unit, int make)
{
    if (unit < 0 || unit >= UNITS)
        return NULL;
    if (units[unit] == NULL && make)
        units[unit] = modbus_mapping_new(CELLS, CELLS, CELLS, CELLS);
    return units[unit] != NULL ? units[unit] : units[0];
}

static int obey(char *line)
{
    char what[16], word[16];
    int address, value, unit = 0, skipped = 0;
    modbus_mapping_t *cells;

    if (sscanf(line, "silent %15s", word) == 1) {
        silent = strcmp(word, "on") == 0;
        return 0;
    }
    if (strncmp(line, "unplug", 6) == 0) {
        unplug();
        return 0;
    }
    if (strncmp(line, "plug", 4) == 0)
        return plug();
    if (sscanf(line, "unit %d", &unit) == 1)
        return modbus_set_slave(context, unit);
    if (sscanf(line, "%d %n", &unit, &skipped) != 1)
        unit = skipped = 0;
    cells = cells_of(unit, 1);
    if (cells == NULL || sscanf(line + skipped, "%15s %d %d", what, &address, &value) != 3 || address < 0
        || address >= CELLS)
        return -1;
    if (strcmp(what, "input") == 0)
        cells->tab_input_registers[address] = (uint16_t)value;
    else if (strcmp(what, "holding") == 0)
        cells->tab_registers[address] = (uint16_t)value;
    else if (strcmp(what, "discrete") == 0)
        cells->tab_input_bits[address] = value != 0;
    else if (strcmp(what, "coil") == 0)
        cells->tab_bits[address] = value != 0;
    else
        return -1;
    return 0;
}

static void serve(int descriptor)
{
    uint8_t query[MODBUS_TCP_MAX_ADU_LENGTH];
    int length;

    modbus_set_socket(context, descriptor);
    length = modbus_receive(context, query);
    if (length > 0) {
        if (!silent)
            modbus_reply(context, query, length, cells_of(query[modbus_get_header_length(context) - 1], 0));
    } else if (length < 0 && descriptor != serial) {
        FD_CLR(descriptor, &watched);
        close(descriptor);
    }
}

static int listen_anywhere(void)
{
    struct sockaddr_in address;
    socklen_t size = sizeof address;

    /* libmodbus takes a port number only: ask the kernel for a free one first, then hand it over. */
    int probe = socket(AF_INET, SOCK_STREAM, 0);
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (probe < 0 || bind(probe, (struct sockaddr *)&address, size) != 0
        || getsockname(probe, (struct sockaddr *)&address, &size) != 0)
        return -1;
    port = ntohs(address.sin_port);
    close(probe);
    context = modbus_new_tcp("127.0.0.1", port);
    return context == NULL ? -1 : plug();
}

static int open_port(const char *path)
{
    context = modbus_new_rtu(path, 9600, 'N', 8, 1);
    if (context == NULL || modbus_set_slave(context, 1) != 0 || modbus_connect(context) != 0)
        return -1;
    serial = modbus_get_socket(context);
    watch(serial);
    return 0;
}

int main(int argc, char **argv)
{
    char line[128];

    FD_ZERO(&watched);
    watch(STDIN_FILENO);
    if (cells_of(0, 1) == NULL || (argc > 1 ? open_port(argv[1]) : listen_anywhere()) != 0) {
        fprintf(stderr, "cannot listen: %s\n", modbus_strerror(errno));
        return 1;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("port %d\n", port);

    for (;;) {
        fd_set ready = watched;
        if (select(highest + 1, &ready, NULL, NULL, NULL) < 0)
            return 1;
        if (FD_ISSET(STDIN_FILENO, &ready)) {
            /* One read is one line: the test waits for the answer before it sends the next. */
            ssize_t length = read(STDIN_FILENO, line, sizeof line - 1);
            if (length <= 0)
                return 0;
            line[length] = '\0';
            puts(obey(line) == 0 ? "ok" : "error");
            continue;
        }
        for (int descriptor = 3; descriptor <= highest; descriptor++) {
            if (!FD_ISSET(descriptor, &ready))
                continue;
            if (descriptor == listener) {
                int accepted = accept(listener, NULL, NULL);
                if (accepted >= FD_SETSIZE)
                    close(accepted);
                else if (accepted >= 0)
                    watch(accepted);
            } else {
                serve(descriptor);
            }
        }
    }
}
