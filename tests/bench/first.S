/* A guest whose first instruction is an exit to user space; then it halts for good. */
    .section .text, "ax"
    .code64
    .globl _start
_start:
    outb %al, $0x42
1:  cli
    hlt
    jmp 1b
    .section .note.GNU-stack, "", @progbits
