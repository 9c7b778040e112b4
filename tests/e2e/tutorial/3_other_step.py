@DBOS.step()
def dbos_step(n: int):
    time.sleep(n)
    print(f"Step {n} completed!")
