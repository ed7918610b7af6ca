/* say.h - for guests without an operating system, entered in 64-bit mode like a
   Linux kernel. SAY label: writes the string at label to COM1. */
.macro SAY text
	lea \text(%rip), %rsi
	mov $0x3f8, %dx
1:	lodsb
	test %al, %al
	jz 2f
	out %al, (%dx)
	jmp 1b
2:
.endm
