"""What an update takes of the heap, from inside: after a collection every few milliseconds."""

from board import HEAP, MAIN, app_image
from lab import PRODUCT, Lab

WATCHING = """
import gc
async def watch():
    most = 0
    while True:
        gc.collect()
        if gc.mem_alloc() > most:
            most = gc.mem_alloc()
            print("PEAK", most)
        await asyncio.sleep_ms(3)

async def both():
    asyncio.create_task(watch())
    await airlift.serve("""


class Heap(Lab):
    def test_the_peak_of_an_update(self):
        main = MAIN.replace("\nasyncio.run(airlift.serve(", WATCHING).replace(
            "min_uptime_ms=0))", "min_uptime_ms=0)\n\nasyncio.run(both())"
        )
        self.assertIn("both())", main)
        files = self.tree("watched", {"main.py": main, "lib/x.py": "X = 1\n" * 3000})
        self.board.start().settled()
        self.update(self.host.pack("watched-2", PRODUCT, 2, app_image(90_001, 2), files))
        # The second update is the one that is watched.
        more = self.tree("more", {"main.py": MAIN, "lib/y.py": "Y = 1\n" * 3000, "a/b/c.txt": "c"})
        start = len(self.board.log.read_text())
        self.update(self.host.pack("watched-3", PRODUCT, 3, app_image(90_001, 3), more))
        log = self.board.log.read_text()
        peaks = [int(line.split()[1]) for line in log.splitlines() if line.startswith("PEAK")]
        at_boot = [int(line.split()[3]) for line in log.splitlines() if line.startswith("BOOT")]
        self.assertGreater(len(log), start)
        print(
            "heap %s: %d bytes at most, of them %d are the stand-ins for the board"
            % (HEAP, max(peaks), max(at_boot)),
            flush=True,
        )
        self.assertLess(max(peaks) - max(at_boot), 128 * 1024)
