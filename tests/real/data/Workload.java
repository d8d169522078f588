import java.io.*;
import java.nio.*;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.*;
import java.security.MessageDigest;
import java.util.*;
import java.util.concurrent.*;
import java.util.regex.*;
import java.util.zip.*;

/** What makes a JVM allocate natively: threads, direct buffers, zip, class loading, compilation, files. Prints digests. */
public class Workload {
    static String sha(byte[] data) throws Exception {
        StringBuilder s = new StringBuilder();
        for (byte b : MessageDigest.getInstance("SHA-256").digest(data)) s.append(String.format("%02x", b));
        return s.substring(0, 16);
    }

    static String task(int seed, int rounds) throws Exception {
        Random random = new Random(seed);
        StringBuilder out = new StringBuilder();
        for (int round = 0; round < rounds; round++) {
            Map<String, List<Integer>> map = new TreeMap<>();
            for (int i = 0; i < 5000; i++) map.computeIfAbsent("k" + random.nextInt(700), k -> new ArrayList<>()).add(i);
            byte[] text = map.toString().getBytes(StandardCharsets.UTF_8);
            Deflater deflater = new Deflater(1 + random.nextInt(9));
            deflater.setInput(text);
            deflater.finish();
            byte[] packed = new byte[text.length + 100];
            int n = deflater.deflate(packed);
            deflater.end();
            Inflater inflater = new Inflater();
            inflater.setInput(packed, 0, n);
            byte[] back = new byte[text.length];
            inflater.inflate(back);
            inflater.end();
            if (!Arrays.equals(text, back)) throw new IllegalStateException("inflate");
            ByteBuffer direct = ByteBuffer.allocateDirect(1 + random.nextInt(1 << 20));
            while (direct.remaining() >= 8) direct.putLong(random.nextLong());
            direct.flip();
            byte[] copy = new byte[direct.remaining()];
            direct.get(copy);
            CRC32 crc = new CRC32();
            crc.update(copy);
            ByteArrayOutputStream bytes = new ByteArrayOutputStream();
            try (GZIPOutputStream zip = new GZIPOutputStream(bytes)) { zip.write(text); }
            Matcher m = Pattern.compile("k(\\d+)=").matcher(new String(text, StandardCharsets.UTF_8));
            long sum = 0;
            while (m.find()) sum += Long.parseLong(m.group(1));
            out.append(sha(text)).append(n).append(crc.getValue()).append(bytes.size()).append(sum);
        }
        return sha(out.toString().getBytes());
    }

    public static void main(String[] args) throws Exception {
        int rounds = Integer.parseInt(args[0]);
        for (int wave = 0; wave < 3; wave++) {
            ExecutorService pool = Executors.newFixedThreadPool(8);
            List<Future<String>> futures = new ArrayList<>();
            for (int i = 0; i < 16; i++) {
                int seed = wave * 100 + i;
                futures.add(pool.submit(() -> task(seed, rounds)));
            }
            for (Future<String> f : futures) System.out.println(f.get());
            pool.shutdown();
        }
        // Many threads are born and die.
        LongAdderLike sum = new LongAdderLike();
        for (int i = 0; i < 50 * rounds; i++) {
            int x = i;
            Thread t = new Thread(() -> sum.add(new byte[x % 5000].length));
            t.start();
            if (i % 16 == 0) t.join();
            sum.threads.add(t);
        }
        for (Thread t : sum.threads) t.join();
        System.out.println("threads " + sum.value);
        // A jar is a zip: written, read with random access, mapped.
        Path jar = Files.createTempFile("w", ".zip");
        try (ZipOutputStream zip = new ZipOutputStream(Files.newOutputStream(jar))) {
            for (int i = 0; i < 300; i++) {
                zip.putNextEntry(new ZipEntry("entry" + i));
                zip.write(("contents " + i).repeat(i).getBytes());
                zip.closeEntry();
            }
        }
        try (ZipFile zip = new ZipFile(jar.toFile())) {
            long total = 0;
            for (ZipEntry e : Collections.list(zip.entries())) total += zip.getInputStream(e).readAllBytes().length;
            System.out.println("zip " + total);
        }
        try (FileChannel channel = FileChannel.open(jar)) {
            System.out.println("mapped " + (channel.map(FileChannel.MapMode.READ_ONLY, 0, channel.size()).get(0) == 'P'));
        }
        Files.delete(jar);
        Process child = new ProcessBuilder("sh", "-c", "echo child").start();
        System.out.print(new String(child.getInputStream().readAllBytes()));
        System.out.println("exit " + child.waitFor());
    }

    static class LongAdderLike {
        long value;
        final List<Thread> threads = new ArrayList<>();
        synchronized void add(long n) { value += n; }
    }
}
