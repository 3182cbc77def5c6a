// Who is present, and since when: the rules of FaceWatcher, for the faces of one camera.
//
// A face continues the track that it overlaps or lies close to. A person appears when a track with a
// good mean score has lasted for some time, and leaves when unseen for some time. So one false find
// does not count, and neither does a missed frame. FaceWatcher also smooths boxes and predicts
// movement; this module does not.

const RULES = {
  confidence: 0.7, // minimum mean score of a track's recent detections
  appearAfter: 0.3, // seconds that a track must last before its person appears
  leaveAfter: 1.0, // seconds without a detection after which a person leaves
  switchMargin: 1.2, // factor by which another face must be taller to be selected
  switchAfter: 0.5, // seconds for which it must be
};
const CONFIRM_HITS = 2;
const KEEP_SECONDS = 1.0;
const SCORES_OF_A_MEAN = 10; // of more, the mean forgets the older ones
// In face sizes, or as a ratio of sizes.
const LEAST_OVERLAP = 0.15;
const FARTHEST_CENTRE = 0.6;
const LARGEST_SIZE_RATIO = 1.8;
const SAME_PLACE = 1.0;
const SAME_SIZE = 1.7;

/** Turns the faces of each frame into persons and events. Times are seconds. */
export class Presence {
  #rules;
  #tracks = [];
  #persons = [];
  #nextTrack = 1;
  #nextPerson = 1;
  #selected = null;
  #rival = { id: null, since: 0 };

  constructor(rules = {}) {
    this.#rules = { ...RULES, ...rules };
  }

  /** Persons who are present: {id, box, since, lastSeen, seen, selected}. */
  get persons() {
    return this.#persons.map(({ id, box, since, lastSeen, seen }) => ({
      id,
      box,
      since,
      lastSeen,
      seen,
      selected: id === this.#selected,
    }));
  }

  /** Use the faces of a frame, best first; returns the events. */
  update(faces, time) {
    this.#follow(faces, time);
    const events = [];
    for (const person of this.#persons) person.seen = false;
    for (const track of this.#tracks) {
      if (track.hits < CONFIRM_HITS) continue;
      let person = this.#persons.find((one) => one.track === track.id);
      const seen = track.lastSeen === time;
      const good = seen && track.score >= this.#rules.confidence;
      if (!person && good) person = this.#adopted(track);
      if (person) {
        Object.assign(person, { track: track.id, box: track.box, seen });
        person.lastSeen = Math.max(person.lastSeen, track.lastSeen);
      } else if (good && time - track.firstSeen >= this.#rules.appearAfter) {
        events.push(this.#appear(track, time));
      }
    }
    const here = this.#persons.filter((one) => time - one.lastSeen <= this.#rules.leaveAfter);
    for (const { id, since, lastSeen } of this.#persons.filter((one) => !here.includes(one))) {
      events.push({ type: "face_left", time, person: id, dwellSeconds: lastSeen - since });
    }
    this.#persons = here;
    return events.concat(this.#select(time));
  }

  /** Assign the faces of a frame to tracks, the best pairs first. */
  #follow(faces, time) {
    const pairs = [];
    for (const track of this.#tracks) {
      for (const face of faces) {
        const closeness = likeness(track.box, face.box);
        if (closeness > 0) pairs.push({ track, face, closeness });
      }
    }
    pairs.sort((a, b) => b.closeness - a.closeness);
    const used = new Set();
    for (const { track, face } of pairs) {
      if (used.has(track) || used.has(face)) continue;
      used.add(track).add(face);
      Object.assign(track, { box: face.box, lastSeen: time, hits: track.hits + 1, missed: 0 });
      track.score += (face.score - track.score) / Math.min(track.hits, SCORES_OF_A_MEAN);
    }
    for (const track of this.#tracks) if (!used.has(track)) track.missed += 1;
    this.#tracks = this.#tracks.filter(({ hits, missed, lastSeen }) =>
      hits >= CONFIRM_HITS ? missed === 0 || time - lastSeen <= KEEP_SECONDS : missed < 2,
    );
    for (const face of faces.filter((one) => !used.has(one))) {
      const { box, score } = face;
      const id = this.#nextTrack++;
      this.#tracks.push({ id, box, score, hits: 1, missed: 0, firstSeen: time, lastSeen: time });
    }
  }

  /** The person whose track ended where this one began. */
  #adopted(track) {
    const alive = new Set(this.#tracks.map((one) => one.id));
    return this.#persons.find((person) => {
      const [a, b] = [track.box, person.box];
      const [high, low] = [Math.max(height(a), height(b)), Math.min(height(a), height(b))];
      const [dx, dy] = [0, 1].map((axis) => Math.abs(centre(a)[axis] - centre(b)[axis]));
      const near = Math.max(dx, dy) <= SAME_PLACE * high && high <= SAME_SIZE * low;
      return !alive.has(person.track) && near;
    });
  }

  #appear(track, time) {
    const { id, box, firstSeen, lastSeen, score } = track;
    const person = { id: this.#nextPerson++, track: id, box, since: firstSeen, lastSeen, seen: true };
    this.#persons.push(person);
    return { type: "face_appeared", time, person: person.id, box, score };
  }

  /** Select the tallest face; another one must be clearly taller for long enough. */
  #select(time) {
    const current = this.#persons.find((one) => one.id === this.#selected);
    let best = this.#persons.reduce(
      (tallest, one) => (tallest && height(tallest.box) >= height(one.box) ? tallest : one),
      null,
    );
    if (current && best && best !== current) {
      const { switchMargin, switchAfter } = this.#rules;
      if (height(best.box) <= switchMargin * height(current.box)) {
        this.#rival = { id: null, since: 0 };
        best = current;
      } else if (this.#rival.id !== best.id) {
        this.#rival = { id: best.id, since: time };
        best = current;
      } else if (time - this.#rival.since < switchAfter) {
        best = current;
      }
    }
    const chosen = best?.id ?? null;
    if (chosen === this.#selected) return [];
    const event = { type: "person_changed", time, person: chosen, previous: this.#selected };
    this.#selected = chosen;
    this.#rival = { id: null, since: 0 };
    return [event];
  }
}

const height = (box) => box[3] - box[1];
const centre = (box) => [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2];

/** How well a face continues a track, above 0; 0 if it does not. */
function likeness(a, b) {
  const [small, large] = [height(a), height(b)].sort((one, other) => one - other);
  if (large > LARGEST_SIZE_RATIO * small) return 0;
  const sides = [0, 1].map((axis) =>
    Math.max(0, Math.min(a[axis + 2], b[axis + 2]) - Math.max(a[axis], b[axis])),
  );
  const shared = sides[0] * sides[1];
  const area = (box) => (box[2] - box[0]) * height(box);
  const overlap = shared / (area(a) + area(b) - shared);
  if (overlap >= LEAST_OVERLAP) return 1 + overlap;
  const [ca, cb] = [centre(a), centre(b)];
  const distance = Math.hypot(ca[0] - cb[0], ca[1] - cb[1]) / large;
  return distance <= FARTHEST_CENTRE ? 1 - distance : 0;
}
