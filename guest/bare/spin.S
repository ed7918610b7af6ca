/* spin: says "spinning" and loops for ever with interrupts off. */
#include "say.h"
	.text
	.globl start
start:
	cli
	SAY hello
3:	jmp 3b
hello:	.asciz "spinning\n"
