/** What the window asks of boards on USB. Ports are named by their path everywhere. */
import type {
  Diagnosis,
  FlashPlan,
  FlashRequest,
  UsbBackup,
  UsbLogLine,
  UsbPort,
  UsbRecord,
  WifiCredentials,
} from '../dto';

/** How much of a board a repair may rewrite. */
export type How = 'smallest' | 'back' | 'slot' | 'files' | 'everything' | (string & {});

export interface UsbBackend {
  /** Resolves once the board has answered and been looked at; cancelled by `usbCancel`. */
  usbConnect(port: string): Promise<UsbPort>;
  usbDisconnect(port: string): Promise<void>;
  /** Lists a port that the system does not list by itself. */
  usbAddPort(path: string): Promise<UsbPort>;
  /** What the user calls the board on that port. */
  usbLabel(port: string, label: string | null): Promise<void>;
  usbDiagnose(port: string, full: boolean): Promise<Diagnosis>;
  usbPlanRepair(port: string, how: How): Promise<FlashPlan>;
  usbPlanFlash(port: string, request: FlashRequest): Promise<FlashPlan>;
  /** Starts what a plan says; answers the number of the job. */
  usbCarryOut(port: string, plan: number): Promise<number>;
  /** Ends connecting, or a job between two segments. */
  usbCancel(port: string): Promise<void>;
  usbBackups(): Promise<UsbBackup[]>;
  /** Plans to put a backup back; carried out like any other plan. */
  usbRestore(port: string, backup: string): Promise<FlashPlan>;
  /** Starts to read the board's log; with an ELF, addresses in it are resolved. */
  usbMonitor(port: string, elf: string | null): Promise<void>;
  usbStopMonitor(port: string): Promise<void>;
  usbLog(port: string, from: number): Promise<UsbLogLine[]>;
  usbSaveLog(port: string, path: string): Promise<void>;
  usbReset(port: string): Promise<void>;
  /** Tells the board which network to join; answers its address there. */
  usbWifi(port: string, wifi: WifiCredentials): Promise<string>;
  usbRecords(): Promise<UsbRecord[]>;
  usbExportRecords(path: string): Promise<void>;
  /** The text of the udev rule that lets everybody at the desk open the ports of boards. */
  usbUdevRule(): Promise<string>;
}
