/* A bare Modbus TCP poller on libmodbus: the floor that `cargo xtask bench poll` compares the gateway with.
 *
 * Usage: modbus_poller REGISTERS EVERY_MS SECONDS, with a line "HOST PORT UNITS" per port on stdin (IPv4 addresses).
 * Reads the input registers 0..REGISTERS of unit ids 1..UNITS of every port once per period, one after the other, in one
 * thread; keeps the words and nothing else: no stamps, quality, rules, journal. Prints one JSON object: what it read, what it
 * cost (CPU of this process from the first request on, both modes) and how long answers took.
 *
 * A read that fails is counted and its connection made anew. A period that begins late is made up for at once; whole periods
 * that were passed over are counted as missed.
 */
#include <errno.h>
#include <modbus.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

enum { PORTS = 4096, REGISTERS = 125, BUCKETS = 1000000 };

struct port {
    modbus_t *context;
    int units;
    uint16_t *words;
};

static struct port ports[PORTS];
/* Answer times, one bucket a microsecond; the last holds all that is longer. */
static uint32_t took[BUCKETS];

static int64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static double cpu_s(void)
{
    struct rusage used;

    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec)
        + (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static long within_us(double share, long reads)
{
    long seen = 0;

    for (long us = 0; us < BUCKETS; us++) {
        seen += took[us];
        if (seen > 0 && (double)seen >= share * (double)reads)
            return us;
    }
    return 0;
}

int main(int argc, char **argv)
{
    char host[64];
    int number, units, count = 0;

    if (argc != 4) {
        fprintf(stderr, "usage: modbus_poller REGISTERS EVERY_MS SECONDS < ports\n");
        return 2;
    }
    int registers = atoi(argv[1]);
    int64_t every = (int64_t)atoi(argv[2]) * 1000000;
    int64_t length = (int64_t)atoi(argv[3]) * 1000000000;
    if (registers < 1 || registers > REGISTERS || every <= 0 || length <= 0) {
        fprintf(stderr, "1 to %d registers; a period and a time above 0\n", REGISTERS);
        return 2;
    }
    while (count < PORTS && scanf("%63s %d %d", host, &number, &units) == 3) {
        struct port *port = &ports[count++];

        port->context = modbus_new_tcp(host, number);
        port->units = units;
        port->words = calloc((size_t)units * (size_t)registers, sizeof *port->words);
        if (port->context == NULL || port->words == NULL || modbus_connect(port->context) != 0) {
            fprintf(stderr, "cannot connect to %s:%d: %s\n", host, number, modbus_strerror(errno));
            return 1;
        }
        modbus_set_response_timeout(port->context, 1, 0);
    }

    long reads = 0, errors = 0, missed = 0;
    double before = cpu_s();
    int64_t begin = now_ns(), due = begin;
    while (due - begin < length) {
        struct timespec until = { .tv_sec = due / 1000000000, .tv_nsec = due % 1000000000 };

        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
            ;
        for (int p = 0; p < count; p++) {
            for (int unit = 0; unit < ports[p].units; unit++) {
                int64_t asked = now_ns();

                modbus_set_slave(ports[p].context, unit + 1);
                if (modbus_read_input_registers(ports[p].context, 0, registers,
                                                ports[p].words + (size_t)unit * (size_t)registers) == registers) {
                    int64_t us = (now_ns() - asked) / 1000;

                    took[us < BUCKETS ? us : BUCKETS - 1]++;
                    reads++;
                } else {
                    errors++;
                    modbus_close(ports[p].context);
                    modbus_connect(ports[p].context);
                }
            }
        }
        due += every;
        while (due + every <= now_ns()) {
            due += every;
            missed++;
        }
    }
    double used = cpu_s() - before, seconds = (double)(now_ns() - begin) / 1e9;
    struct rusage most;

    getrusage(RUSAGE_SELF, &most);
    if (seconds < (double)length / 1e9)
        seconds = (double)length / 1e9;
    printf("{\"reads\": %ld, \"errors\": %ld, \"missed_periods\": %ld, \"seconds\": %.6f, \"cpu_s\": %.6f, "
           "\"rss_kib\": %ld, \"p50_us\": %ld, \"p99_us\": %ld}\n",
           reads, errors, missed, seconds, used, most.ru_maxrss, within_us(0.5, reads), within_us(0.99, reads));
    return 0;
}
