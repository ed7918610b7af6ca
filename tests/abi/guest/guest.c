/*
 * guest.c - the smallest guest with a console, for tests of the ABI: it needs no kernel, boots in a millisecond, and does
 * what the words of its command line say, in order:
 *
 *   serial:TEXT  prints TEXT and a newline on COM1      print:TEXT  the same on the virtio console
 *   flood:N      prints N lines of 64 bytes             echo        prints what is typed, up to a Ctrl-D
 *   button       waits for the power button             off         powers off by ACPI
 *   reboot       resets through the i8042               triple      faults three times
 *   spin         loops with interrupts off              halt        halts with interrupts off
 *
 * Unknown words (the machine's own arguments) are skipped.
 */
#include <stddef.h>
#include <stdint.h>

void triple_fault(void) __attribute__((noreturn));
void guest_main(const uint8_t *zero_page);

#define COM1 0x3f8
#define SLEEP_CONTROL 0x600 /* ACPI sleep control register of the machine */
#define EVENTS 0x604        /* its event register: bit 0, power button */
#define CONSOLE 0xd0100000u /* registers of the virtio console */
#define QUEUE_SIZE 8
#define BUFFER_SIZE 256

static void outb(uint16_t port, uint8_t v) { __asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port)); }

static uint32_t inl(uint16_t port) {
    uint32_t v;
    __asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}

static void relax(void) { __asm__ volatile("pause" ::: "memory"); }
static void barrier(void) { __asm__ volatile("mfence" ::: "memory"); }

/* ---- Identity map of the low 4 GiB with pages of 2 MiB: the one of the loader need not reach the devices. */

static uint64_t pml4[512] __attribute__((aligned(4096)));
static uint64_t pdpt[512] __attribute__((aligned(4096)));
static uint64_t pd[4][512] __attribute__((aligned(4096)));

static void map_everything(void) {
    pml4[0] = (uint64_t)(uintptr_t)pdpt | 3;
    for (unsigned i = 0; i < 4; i++) {
        pdpt[i] = (uint64_t)(uintptr_t)pd[i] | 3;
        for (unsigned j = 0; j < 512; j++) pd[i][j] = ((uint64_t)i << 30 | (uint64_t)j << 21) | 0x83;
    }
    __asm__ volatile("mov %0, %%cr3" : : "r"(pml4) : "memory");
}

/* ---- virtio console (virtio 1.3, 4.2 MMIO, 2.7 split queues, 5.3 console). */

struct desc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags, next;
};
struct avail {
    uint16_t flags, idx, ring[QUEUE_SIZE], event;
};
struct used {
    uint16_t flags, idx;
    struct {
        uint32_t id, len;
    } ring[QUEUE_SIZE];
    uint16_t event;
};

struct queue {
    struct desc desc[QUEUE_SIZE] __attribute__((aligned(16)));
    struct avail avail __attribute__((aligned(4)));
    volatile struct used used __attribute__((aligned(4)));
    uint16_t seen; /* used entries taken */
};

static struct queue receive, transmit;
static char in[QUEUE_SIZE][BUFFER_SIZE], out[BUFFER_SIZE];

static volatile uint32_t *reg(uint32_t offset) { return (volatile uint32_t *)(uintptr_t)(CONSOLE + offset); }

static void set64(uint32_t offset, const volatile void *p) {
    *reg(offset) = (uint32_t)(uintptr_t)p;
    *reg(offset + 4) = (uint32_t)((uint64_t)(uintptr_t)p >> 32);
}

static void setup_queue(uint32_t index, struct queue *q) {
    *reg(0x030) = index;      /* QueueSel */
    *reg(0x038) = QUEUE_SIZE; /* QueueNum */
    set64(0x080, q->desc);
    set64(0x090, &q->avail);
    set64(0x0a0, &q->used);
    *reg(0x044) = 1; /* QueueReady */
}

static void kick(struct queue *q, uint32_t index, uint16_t head) {
    q->avail.ring[q->avail.idx % QUEUE_SIZE] = head;
    barrier();
    *(volatile uint16_t *)&q->avail.idx = (uint16_t)(q->avail.idx + 1);
    barrier();
    *reg(0x050) = index; /* QueueNotify */
}

static void open_console(void) {
    static int is_open;
    if (is_open) return;
    is_open = 1;
    *reg(0x070) = 0;
    *reg(0x070) = 1;     /* ACKNOWLEDGE */
    *reg(0x070) = 1 | 2; /* and DRIVER */
    *reg(0x024) = 1;     /* DriverFeaturesSel */
    *reg(0x020) = 1;     /* VIRTIO_F_VERSION_1 */
    *reg(0x024) = 0;
    *reg(0x020) = 0;
    *reg(0x070) = 1 | 2 | 8; /* FEATURES_OK */
    setup_queue(0, &receive);
    setup_queue(1, &transmit);
    *reg(0x070) = 1 | 2 | 8 | 4; /* DRIVER_OK */
    for (uint16_t i = 0; i < QUEUE_SIZE; i++) {
        receive.desc[i] = (struct desc){(uint64_t)(uintptr_t)in[i], BUFFER_SIZE, 2, 0}; /* device writes */
        kick(&receive, 0, i);
    }
}

static void put(const char *text, uint32_t len) {
    while (len) {
        uint32_t n = len < BUFFER_SIZE ? len : BUFFER_SIZE;
        for (uint32_t i = 0; i < n; i++) out[i] = text[i];
        transmit.desc[0] = (struct desc){(uint64_t)(uintptr_t)out, n, 0, 0};
        kick(&transmit, 1, 0);
        while (transmit.used.idx == transmit.seen) relax();
        transmit.seen++;
        text += n;
        len -= n;
    }
}

static void echo(void) {
    for (;;) {
        while (receive.used.idx == receive.seen) relax();
        uint32_t slot = receive.seen++ % QUEUE_SIZE;
        uint32_t id = receive.used.ring[slot].id, len = receive.used.ring[slot].len;
        int end = 0;
        for (uint32_t i = 0; i < len; i++)
            if (in[id][i] == 4) {
                len = i;
                end = 1;
            }
        put(in[id], len);
        kick(&receive, 0, (uint16_t)id);
        if (end) return;
    }
}

static void flood(uint32_t lines) {
    char line[64];
    for (uint32_t n = 0; n < lines; n++) {
        for (int i = 0; i < 63; i++) line[i] = '.';
        for (uint32_t i = 0, v = n; i < 10; i++, v /= 10) line[9 - i] = (char)('0' + v % 10);
        line[63] = '\n';
        put(line, 64);
    }
}

/* ---- The command line. */

static const char *after(const char *word, const char *prefix) {
    while (*prefix)
        if (*word++ != *prefix++) return NULL;
    return word;
}

static uint32_t length(const char *word) {
    uint32_t n = 0;
    while (word[n] && word[n] != ' ') n++;
    return n;
}

static int is(const char *word, const char *name) {
    const char *rest = after(word, name);
    return rest && (!*rest || *rest == ' ');
}

static void run(const char *word) {
    const char *rest;

    if ((rest = after(word, "serial:"))) {
        for (uint32_t i = 0, n = length(rest); i < n; i++) outb(COM1, (uint8_t)rest[i]);
        outb(COM1, '\n');
    } else if ((rest = after(word, "print:"))) {
        open_console();
        put(rest, length(rest));
        put("\n", 1);
    } else if ((rest = after(word, "flood:"))) {
        uint32_t lines = 0;
        while (*rest >= '0' && *rest <= '9') lines = lines * 10 + (uint32_t)(*rest++ - '0');
        open_console();
        flood(lines);
    } else if (is(word, "echo")) {
        open_console();
        echo();
    } else if (is(word, "button")) {
        while (!(inl(EVENTS) & 1)) relax();
    } else if (is(word, "off")) {
        outb(SLEEP_CONTROL, 5 << 2 | 1 << 5); /* SLP_TYP of S5, SLP_EN */
    } else if (is(word, "reboot")) {
        outb(0x64, 0xfe);
    } else if (is(word, "triple")) {
        triple_fault();
    } else if (is(word, "spin")) {
        for (;;) relax();
    }
}

void guest_main(const uint8_t *zero_page) {
    const char *word = (const char *)(uintptr_t) * (const uint32_t *)(zero_page + 0x228); /* cmd_line_ptr */

    map_everything();
    while (*word) {
        while (*word == ' ') word++;
        run(word);
        word += length(word);
    }
}
