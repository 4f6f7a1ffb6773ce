/** Chance, the same for the same seed on every machine. */
export interface Random {
  /** Uniform in [0, 1). */
  next(): number;
  /** Another source, by name: what one part draws does not move what others get. */
  fork(name: string): Random;
}

/** @param seed any text; the same text gives the same numbers (sfc32, seeded by FNV-1a) */
export function createRandom(seed: string): Random {
  const next = sfc32(seed);
  return { next, fork: (name) => createRandom(`${seed}/${name}`) };
}

/** Exponential with that mean: the time between arrivals of a Poisson process. */
export function exponential(random: Random, mean: number): number {
  return -mean * Math.log(1 - random.next());
}

/** Normal with mean 0 and deviation 1 (Box and Muller). */
export function standardNormal(random: Random): number {
  const radius = Math.sqrt(-2 * Math.log(1 - random.next()));
  return radius * Math.cos(2 * Math.PI * random.next());
}

/**
 * Log-normal, given as people know it.
 * @param median half of the draws are below it
 * @param sigma deviation of the logarithm; 0 gives the median each time
 */
export function logNormal(random: Random, median: number, sigma: number): number {
  return median * Math.exp(sigma * standardNormal(random));
}

/** Chris Doty-Humphrey's Small Fast Counting generator, 32 bits: passes PractRand, period about 2^127. */
function sfc32(seed: string): () => number {
  let [a, b, c, counter] = [hash(seed, 1), hash(seed, 2), hash(seed, 3), 1];
  const next = (): number => {
    const sum = (a + b + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = ((c << 21) | (c >>> 11)) + sum;
    return (sum >>> 0) / 2 ** 32;
  };
  // The first draws still show the seed.
  for (let draw = 0; draw < 12; draw += 1) next();
  return next;
}

/** FNV-1a over the text's UTF-16 units. */
function hash(text: string, salt: number): number {
  let value = (0x811c9dc5 ^ salt) >>> 0;
  for (let index = 0; index < text.length; index += 1) {
    value = Math.imul(value ^ text.charCodeAt(index), 0x01000193);
  }
  return value | 0;
}
