@DBOS.scheduled("* * * * * *")
@DBOS.workflow()
def scheduled_workflow(scheduled_time, actual_time):
    print(f"I am a scheduled workflow. It is currently {scheduled_time}.")
