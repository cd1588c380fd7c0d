/** Undo and redo over states that are never changed in place. */

const MOST = 200;

export class History {
  constructor(first) {
    this.reset([first], 0);
  }

  reset(states, at) {
    this.states = states;
    this.at = at;
  }

  get current() {
    return this.states[this.at];
  }

  get canUndo() {
    return this.at > 0;
  }

  get canRedo() {
    return this.at < this.states.length - 1;
  }

  /** Adds a state after the current one; what was undone is gone. */
  push(state) {
    this.states = [...this.states.slice(0, this.at + 1), state];
    // the first stays, so that undoing ends at the first picture
    if (this.states.length > MOST) this.states.splice(1, 1);
    this.at = this.states.length - 1;
  }
}
