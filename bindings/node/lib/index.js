// The same objects for import as for require.
import capsa from './index.cjs';

export const {
  Builder, CapsaError, Console, PacketSocket, Process, Sandbox, SharedNetwork, VM, VsockListener, doctor, has, metrics,
  version,
} = capsa;
