// What programs may write. It is only checked, never run.
import {
  Builder, CapsaError, Console, PacketSocket, VM, doctor, has, metrics, version,
  type Cause, type ExitRecord, type MachineEvent, type MachineOptions, type Match,
} from 'capsa';

const options: MachineOptions = {
  kernel: new URL('file:///vmlinuz'), initrd: '/initrd', disks: ['/a', { path: '/b', format: 'raw', iops: 1n }],
  shares: [{ tag: 'home', path: '/home', owner: 'squash' }], vsock: { listen: [{ port: 1, path: '/in' }] },
  isolation: 'process', jail: 'partial',
};
await using vm = await VM.start({ ...options, signal: AbortSignal.timeout(1), startTimeout: 5 });
const match: Match = await vm.console.expect([/a(?<b>c)/, 'b', Buffer.from('c')], { timeout: 1 });
const b: string | undefined = match.groups?.['b'];
const { status, output }: { status: number; output: string } = await vm.console.run('true');
for await (const line of vm.console.lines()) line.trim();
for await (const chunk of vm.console) String(chunk);
process.stdin.pipe(vm.console).pipe(process.stdout);
vm.on('exit', ({ exit }) => exit.cause satisfies Cause).on('state', ({ state }) => state === 'running');
vm.once('event', (event: MachineEvent) => event.type === 'lost' && event.lost.toFixed());
// @ts-expect-error there is no such event
vm.on('exits', () => {});
for await (const event of vm.events({ signal: AbortSignal.abort() })) {
  if (event.type === 'exit') event.exit satisfies ExitRecord;
}
const bytes = await vm.vsock.connect(80);
bytes.setNoDelay(true);
const messages: PacketSocket = await vm.vsock.connect(80, { type: 'seqpacket', timeout: 1 });
const listener = vm.vsock.listen(1, { backlog: 4 }, (socket) => socket.unref());
for await (const socket of listener) socket.setKeepAlive(true);
const open = vm.network.forward(80, { host: '::', protocol: 'tcp' });
const hostPort: number | undefined = open.hostPort ?? vm.network.forwards()[0]?.hostPort;
vm.network.unforward(open);
vm.network.setPolicy({ default: 'deny-all', rules: [{ action: 'allow', ports: [80, '1-2'], groups: ['private'] }] });
vm.network.setPolicy(undefined);
vm.on('port', ({ forward }) => forward.guestPort.toFixed());
new Builder({ network: { ipv6: false, hosts: { a: ['::1'] } }, forwards: [1, { guestPort: 2, path: '/x' }] }).network(false);
// @ts-expect-error
vm.network.setPolicy({ default: 'some' });
const exits: number = vm.stats().exits + vm.deviceStats(0).kicks + vm.deviceStats().length;
try {
  await new Builder({ cpus: 2 }).cpus(1).linux('/k').disk('/d', { temporary: true }).build();
} catch (error) {
  if (error instanceof CapsaError && error.class === 'CAPSA_E_CONFIG') error.problems.map(({ field }) => field);
}
// @ts-expect-error a typing error
new Builder({ cpu: 1 });
// @ts-expect-error machines are made by builders
new VM();
// @ts-expect-error
new Builder().share('a', '/a', { owner: 'me' });
// @ts-expect-error
new Builder().isolation('process', { jail: 'paper' });
new Builder().isolation().isolation('none').isolation('process', { jail: 'off' });
const all: [string, boolean, string[], string] = [version, has('x'), (await doctor()).features, await metrics()];
const reader: Console = vm.openConsole();
export { all, b, exits, hostPort, messages, output, reader, status };
