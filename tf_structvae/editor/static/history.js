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
    // the first stays: it is what "reset" and "before" mean
    if (this.states.length > MOST) this.states.splice(1, 1);
    this.at = this.states.length - 1;
  }

  undo() {
    if (this.canUndo) this.at--;
  }

  redo() {
    if (this.canRedo) this.at++;
  }
}
