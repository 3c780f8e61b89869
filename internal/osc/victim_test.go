package osc

const victimCommand = "osc-victim"

func victimMain() int { return 1 }
