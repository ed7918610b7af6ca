/* Entry of the guest: 64-bit mode, rsi points to the zero page (Linux x86 boot protocol, 64-bit entry). */
    .section .start, "ax"
    .globl start
start:
    cli
    lea stack_top(%rip), %rsp
    mov %rsi, %rdi
    call guest_main
1:  hlt
    jmp 1b

/* Three faults in a row: no interrupt table, then an exception. */
    .globl triple_fault
triple_fault:
    lidt empty(%rip)
    ud2

    .section .rodata
empty:
    .word 0
    .quad 0

    .section .bss
    .balign 16
    .skip 16384
stack_top:

    .section .note.GNU-stack, "", @progbits
