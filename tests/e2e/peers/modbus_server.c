/* A Modbus TCP server on libmodbus: an independent peer of the gateway's end-to-end tests.
 *
 * Prints "port N" when it listens. Then takes one command per line on stdin and answers each with "ok" or "error":
 *   input|holding ADDRESS VALUE     discrete|coil ADDRESS 0|1
 *   silent on|off                   silent: requests are read and not answered; connections stay open
 *   unplug                          stops listening and drops every connection; "plug" brings it back on the same port
 *   plug
 * Ends when stdin closes. One unit (any unit id is answered), addresses 0..255, as many connections as select() takes.
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

enum { CELLS = 256 };

static modbus_t *context;
static modbus_mapping_t *cells;
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

static int obey(char *line)
{
    char what[16], word[16];
    int address, value;

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
    if (sscanf(line, "%15s %d %d", what, &address, &value) != 3 || address < 0 || address >= CELLS)
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
            modbus_reply(context, query, length, cells);
    } else if (length < 0) {
        FD_CLR(descriptor, &watched);
        close(descriptor);
    }
}

int main(void)
{
    char line[128];
    struct sockaddr_in address;
    socklen_t size = sizeof address;

    /* libmodbus takes a port number only: ask the kernel for a free one first, then hand it over. */
    int probe = socket(AF_INET, SOCK_STREAM, 0);
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (probe < 0 || bind(probe, (struct sockaddr *)&address, size) != 0
        || getsockname(probe, (struct sockaddr *)&address, &size) != 0)
        return 1;
    port = ntohs(address.sin_port);
    close(probe);

    context = modbus_new_tcp("127.0.0.1", port);
    cells = modbus_mapping_new(CELLS, CELLS, CELLS, CELLS);
    FD_ZERO(&watched);
    watch(STDIN_FILENO);
    if (context == NULL || cells == NULL || plug() != 0) {
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
